"""Where the API is: every route has two addresses."""

from __future__ import annotations

PREFIXES = ("/v1/", "/openai/v1/")


def is_api(path: str) -> bool:
    """Whether a path is served in OpenAI's formats, errors included."""
    return path.startswith(PREFIXES) or f"{path}/" in PREFIXES
