"""Serve stored responses, conversations and webhooks under /api/v1/."""
