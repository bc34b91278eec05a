"""How fast callers may go."""
