"""Telling tenants what they wait for: events, endpoints, signatures, delivery."""
