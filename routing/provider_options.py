"""Turn the command line of `add_provider` into values; errors name the option."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError

from routing.models import Provider
from routing.protocols import PROTOCOLS

_WORDS: dict[str, Any] = {"true": True, "false": False}


def usual_auth(protocol: str) -> str:
    """Return how a provider of this protocol takes its key by default."""
    known = PROTOCOLS.get(protocol)
    return known.auth_kind if known is not None else Provider.AuthKind.BEARER


def quirks(pairs: Sequence[str]) -> dict[str, Any]:
    """Turn `k=v` texts into the JSON of a row; `true` and `false` are booleans, digits a number."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise ValidationError({"quirk": f"{pair!r} is not of the form name=value."})
        found[name] = (
            int(value) if value.isascii() and value.isdigit() else _WORDS.get(value, value)
        )
    return found
