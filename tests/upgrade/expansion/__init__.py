"""An app that the next version might have: its migrations expand the ledger."""
