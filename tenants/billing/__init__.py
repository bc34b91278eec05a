"""Sums over the ledger, and what is invoiced and credited on them."""
