"""What may stand in the fields of providers, models and aliases."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError

from routing.route import CAPABILITIES, Quirks

_PROVIDER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")
_ALIAS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}\Z")


def validate_provider_name(value: str) -> None:
    if not _PROVIDER_NAME.match(value):
        raise ValidationError(
            f"{value!r} is not a provider name: lower-case letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit."
        )


def validate_alias_name(value: str) -> None:
    if not _ALIAS_NAME.match(value):
        raise ValidationError(
            f"{value!r} is not an alias: letters, digits and . _ : / @ + -, beginning with a letter "
            "or digit."
        )


def validate_base_url(value: str) -> None:
    try:
        parts = urlsplit(value)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError as error:
        raise ValidationError(f"{value!r} is not an address: {error}.") from error
    if any(character <= " " or character in "\\\x7f" for character in value):
        raise ValidationError(
            "The base URL may hold no space, line break, control character or backslash."
        )
    if not port_is_good:
        raise ValidationError(f"{value!r} is not an http(s) address.")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValidationError(f"{value!r} is not an http(s) address.")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValidationError("The base URL may hold no user, query or fragment.")


def validate_quirks(value: Any) -> None:
    try:
        Quirks.from_row(value)
    except (TypeError, ValueError) as error:
        raise ValidationError(str(error)) from error


def validate_capabilities(value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValidationError("Capabilities are a list of names.")
    if unknown := sorted(set(value) - CAPABILITIES):
        raise ValidationError(
            f"Unknown capability {unknown[0]!r}; known are {', '.join(sorted(CAPABILITIES))}."
        )
