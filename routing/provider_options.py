"""What `add_provider` is told on the command line, turned into values; errors name the option."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError

from gateway_project.lib.env import environment
from gateway_project.lib.secret import Secret
from routing.models import Provider, WireProtocol

_WORDS: dict[str, Any] = {"true": True, "false": False}


def usual_auth(protocol: str) -> str:
    """How a provider of this protocol takes its key when nothing else is said."""
    kinds = Provider.AuthKind
    return kinds.X_API_KEY if protocol == WireProtocol.ANTHROPIC else kinds.BEARER


def quirks(pairs: Sequence[str]) -> dict[str, Any]:
    """`k=v` texts as the JSON of a row; `true` and `false` are booleans."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise ValidationError({"quirk": f"{pair!r} is not of the form name=value."})
        found[name] = _WORDS.get(value, value)
    return found


def secret(variable: str | None) -> Secret | None:
    """The secret that the named variable holds; None if no variable is named."""
    if variable is None:
        return None
    found = environment.secret(variable)
    if found is None:
        raise ValidationError(
            {"secret-env": f"The environment variable {variable} is not set; export it and repeat."}
        )
    return found
