"""Store responses and what belongs to them: many at a time, before their client is told."""
