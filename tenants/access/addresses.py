"""Tell from which network address a request of Django's came."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest

from gateway_project.lib.client_address import client_address


def address_of(request: HttpRequest) -> str:
    """Return the address a request came from, as the trusted proxies tell it."""
    peer = (request.META.get("REMOTE_ADDR", ""), 0)
    scope = getattr(request, "scope", None)  # Django's test client and WSGI have none
    headers = scope["headers"] if scope else []
    return client_address(scope.get("client") if scope else peer, headers, settings.TRUSTED_PROXIES)
