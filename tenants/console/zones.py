"""Show a console page's times in the zone of what it shows."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from tenants.access.middleware import CONSOLE
from tenants.access.requests import access
from tenants.console.scope import zone_of


class ZoneMiddleware:
    """Makes Django write and read times in the scope's zone. Stands after the sign-in's."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # Whoever may do nothing here is told so by the page, whichever tenant they name.
        if not request.path.startswith(CONSOLE) or not access(request):
            return self._get_response(request)
        with timezone.override(zone_of(request)):
            return self._get_response(request)
