"""Keep every row within its tenant, in the database itself; the walls are derived from the models."""
