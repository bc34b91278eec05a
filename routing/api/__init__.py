"""Serve providers, credentials, models and aliases under /api/v1/."""
