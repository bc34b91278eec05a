"""Serve the OpenAI-compatible routes that read and change what is stored."""
