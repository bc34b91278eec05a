"""Speak the language of whoever reads a page of the console; all else is English."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import translation
from django.utils.cache import patch_vary_headers

from tenants.access.middleware import CONSOLE


def spoken_to(request: HttpRequest) -> AbstractContextManager[None]:
    """Return a context in which texts are in the language that a reader chose, else in the browser's."""
    return translation.override(translation.get_language_from_request(request))


class LanguageMiddleware:
    """Does for the console's pages what Django's LocaleMiddleware does for every request: programs that call
    the API read English, whatever they accept. Stands before all that may answer with a page.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path.startswith(CONSOLE):
            return self._get_response(request)
        with spoken_to(request):
            response = self._get_response(request)
            response.headers.setdefault("Content-Language", translation.get_language() or "en")
        patch_vary_headers(response, ("Accept-Language", "Cookie"))
        return response
