"""Limits on how fast callers may go."""
