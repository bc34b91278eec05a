"""Know under which prefixes the APIs are served: every route of models has two addresses, management one."""

from __future__ import annotations

PREFIXES = ("/v1/", "/openai/v1/")
MANAGEMENT = "/api/v1/"
# Whoever may ask for nothing else may read how to ask.
DOCUMENTATION = (f"{MANAGEMENT}docs/", f"{MANAGEMENT}openapi.yaml")


def is_api(path: str) -> bool:
    """Tell whether a path is served in OpenAI's formats, errors included."""
    return path.startswith(PREFIXES) or f"{path}/" in PREFIXES


def is_management(path: str) -> bool:
    """Tell whether a path belongs to the management API."""
    return path.startswith(MANAGEMENT) or f"{path}/" == MANAGEMENT


def is_documentation(path: str) -> bool:
    """Tell whether a path describes the management API, which is open to all."""
    return path in DOCUMENTATION
