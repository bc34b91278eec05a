"""Serve the OpenAI-compatible routes: doors, calls, streams and what is stored of them."""
