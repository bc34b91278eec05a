"""Usage that cannot be lost: written ahead into a spool, and from there into the database exactly once."""
