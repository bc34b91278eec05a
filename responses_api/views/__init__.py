"""The OpenAI-compatible routes that Django serves: those that read and change what is stored."""

PREFIXES = ("/v1/", "/openai/v1/")
