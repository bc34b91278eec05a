"""Budgets: their windows, leases and thresholds, and who is told of them."""
