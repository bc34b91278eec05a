"""Say how much text is about a token."""

BYTES_PER_TOKEN = 4
