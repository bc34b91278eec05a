"""What may stand in a tenant's and a key's fields."""

from __future__ import annotations

import ipaddress
from typing import Any
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

# generate: ask models; models: list them; store: keep responses and conversations; read: get them back.
SCOPES = frozenset({"generate", "models", "read", "store"})


def validate_time_zone(value: str) -> None:
    if value not in available_timezones():
        raise ValidationError(f"{value!r} is not an IANA time zone, such as Europe/Berlin.")


def validate_scopes(value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(scope, str) for scope in value):
        raise ValidationError("Scopes are a list of names.")
    if unknown := sorted(set(value) - SCOPES):
        known = ", ".join(sorted(SCOPES))
        raise ValidationError(f"Unknown scope {unknown[0]!r}; the scopes are {known}.")


def validate_networks(value: Any) -> None:
    if not isinstance(value, list):
        raise ValidationError("Networks are a list of CIDR texts.")
    for entry in value:
        if not isinstance(entry, str):
            raise ValidationError(f"{entry!r} is not a network; write it as text.")
        try:
            ipaddress.ip_network(entry)
        except ValueError as error:
            raise ValidationError(f"{entry!r} is not a network: {error}") from error


def validate_thresholds(value: Any) -> None:
    """Percents, of which some may lie above 100."""
    if not isinstance(value, list) or not all(type(entry) is int for entry in value):
        raise ValidationError("Thresholds are a list of whole numbers, such as [50, 80, 100].")
    for entry in value:
        if not 1 <= entry <= 1000:
            raise ValidationError(f"{entry!r} is not a percentage between 1 and 1000.")


def validate_emails(value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise ValidationError("E-mail addresses are a list of texts.")
    for entry in value:
        try:
            validate_email(entry)
        except ValidationError as error:
            raise ValidationError(f"{entry!r} is not an e-mail address.") from error
