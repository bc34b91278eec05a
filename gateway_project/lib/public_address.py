"""Know where clients and people reach this installation from outside (`TOLLGATE_PUBLIC_URL`)."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from django.conf import settings

# Where `serve` listens when nobody says otherwise.
LOCAL = "http://127.0.0.1:8000"


def api_url(*, otherwise: str = LOCAL) -> str:
    """Return what clients are given as their base URL, /v1 included: as it is set, else at this origin."""
    return f"{next(iter(settings.API_ORIGIN), otherwise)}/v1"


def implied_origins(public_url: str, console_hosts: Sequence[str]) -> list[str]:
    """Return the origins of console pages that a public URL implies, the first of which links begin with."""
    parts = urlsplit(public_url)
    port = f":{parts.port}" if parts.port else ""
    named = [name for name in console_hosts if not name.startswith((".", "*"))]
    others = [f"{parts.scheme}://{name}{port}" for name in named]
    return others if public_url in others else [*others, public_url]


def host_of(url: str) -> str:
    """Return the host of a URL as a list of allowed hosts names it: IPv6 in brackets, without a port."""
    name = urlsplit(url).hostname or ""
    return f"[{name}]" if ":" in name else name
