"""Wiring only: settings, urls, asgi, server. Leaf helpers live in lib."""
