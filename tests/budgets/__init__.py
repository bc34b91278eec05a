"""Budgets: their windows, leases and thresholds."""
