"""Run one call: admit it, send it to its targets in turn, answer it, settle it."""
