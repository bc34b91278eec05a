"""Prices, limits, budgets and bills."""
