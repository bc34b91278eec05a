"""Put a credential into headers: one function per kind, registered by name."""

from __future__ import annotations

from collections.abc import Callable

from gateway_project.lib.secret import Secret
from routing.protocols import anthropic


def _bearer(secret: Secret) -> dict[str, str]:
    return {"authorization": f"Bearer {secret.reveal()}"}


def _x_api_key(secret: Secret) -> dict[str, str]:
    """https://docs.anthropic.com/en/api/overview"""
    return {"x-api-key": secret.reveal(), **anthropic.PROTOCOL.headers}


def _api_key(secret: Secret) -> dict[str, str]:
    """https://learn.microsoft.com/en-us/azure/ai-services/openai/reference"""
    return {"api-key": secret.reveal()}


KINDS: dict[str, Callable[[Secret], dict[str, str]]] = {
    "bearer": _bearer,
    "x-api-key": _x_api_key,
    "api-key": _api_key,
    "none": lambda secret: {},
}


def headers(kind: str, secret: Secret | None) -> dict[str, str]:
    """Make the headers that carry `secret`; none without one."""
    return KINDS[kind](secret) if secret is not None else {}
