"""What may stand in the fields of webhook endpoints."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError

# https://platform.openai.com/docs/guides/webhooks: those of background responses. The last is ours.
BUDGET_THRESHOLD = "budget.threshold"
WEBHOOK_EVENTS = (
    "response.completed",
    "response.failed",
    "response.incomplete",
    "response.cancelled",
    BUDGET_THRESHOLD,
)


def validate_webhook_url(value: str) -> None:
    try:
        parts = urlsplit(value)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError as error:
        raise ValidationError(f"{value!r} is not an address: {error}.") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_good:
        raise ValidationError(f"{value!r} is not an http(s) address.")
    if "\\" in value or any(character <= " " for character in value):
        raise ValidationError("The address may hold no backslash, space or control character.")
    if parts.username is not None or parts.fragment:
        raise ValidationError("The address may hold no user, password or fragment.")


def validate_webhook_events(value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValidationError("Events are a list of names.")
    if unknown := sorted(set(value) - set(WEBHOOK_EVENTS)):
        known = ", ".join(WEBHOOK_EVENTS)
        raise ValidationError(f"Unknown event {unknown[0]!r}; the events are {known}.")
