"""The OpenAI-compatible routes that Django serves: those that read and change what is stored."""
