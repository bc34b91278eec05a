"""API keys: make, rotate and revoke them, and tell who calls."""
