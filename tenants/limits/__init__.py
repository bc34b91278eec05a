"""How fast callers may go: requests and tokens by time, and calls at the same time."""
