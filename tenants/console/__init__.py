"""Scope the Django admin to tenants: querysets, forms, deletions, rights."""
