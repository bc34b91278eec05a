"""Serve what is no page of a model and needs no key."""
