"""Serve tenants, their people, keys, money and use under /api/v1/."""
