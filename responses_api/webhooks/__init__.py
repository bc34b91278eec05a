"""Telling tenants that background responses ended: events, endpoints, signatures, delivery."""
