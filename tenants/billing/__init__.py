"""Sum the ledger, and invoice and credit those sums."""
