"""Record usage so that it cannot be lost: first into a spool, from there into the database exactly once."""
