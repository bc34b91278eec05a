"""Manage who may spend what: tenants, their members and their API keys."""
