"""Decide what tokens cost and what is charged for them."""
