"""Programs to copy that call the gateway with a key. Apps that know the clients add how they are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import Promise

QUESTION = "Say hello in five words."


@dataclass(frozen=True, slots=True)
class Example:
    """Holds what a snippet calls: the gateway's address (with /v1), an alias, and the key's secret or a
    placeholder for it."""

    base_url: str
    alias: str
    secret: str


@dataclass(frozen=True, slots=True)
class Snippet:
    """A text to paste; `name` is part of addresses, `hint` says what it needs."""

    name: str
    label: str | Promise
    text: str
    hint: str | Promise = ""


Writer = Callable[[Example], Snippet]
_writers: list[Writer] = []


def add_writers(*writers: Writer) -> None:
    """Add ways of calling the gateway, in the order in which they are shown."""
    _writers.extend(each for each in writers if each not in _writers)


def snippets(example: Example) -> list[Snippet]:
    """Return the programs for an example."""
    return [write(example) for write in _writers]


def base_url(request: HttpRequest) -> str:
    """Return the address that clients call, /v1 included: as it is set, else that of this page."""
    for origin in settings.API_ORIGIN:
        return f"{origin}/v1"
    host = request.get_host()
    # Behind a proxy that ends TLS, the origin that forms are trusted from knows the scheme.
    named = (each for each in settings.CSRF_TRUSTED_ORIGINS if urlsplit(each).netloc == host)
    return f"{next(named, f'{request.scheme}://{host}')}/v1"
