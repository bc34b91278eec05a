"""Know where people reach the console, for links that no page of it makes."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from gateway_project.lib.public_address import LOCAL


def of(given: str = "", *, otherwise: str = LOCAL) -> str:
    """Return the origin of the console: as given, else the first trusted origin, else `otherwise`. Raise
    ValidationError.
    """
    if not given:
        named = (origin for origin in settings.CSRF_TRUSTED_ORIGINS if "*" not in origin)
        return next(named, otherwise)
    parts = urlsplit(given)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        message = f"{given!r} is not an http(s) address; write it like {LOCAL}."
        raise ValidationError({"console-url": message})
    return f"{parts.scheme}://{parts.netloc}"


def beside(request: HttpRequest) -> str:
    """Return the origin for links on a page of the console: the public one if set, else the page's own."""
    own = request.build_absolute_uri("/").rstrip("/")
    return of(otherwise=own) if settings.PUBLIC_URL else own
