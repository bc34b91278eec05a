"""Resolve where a request goes and how to speak to it."""
