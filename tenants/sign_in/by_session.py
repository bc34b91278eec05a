"""Find who is signed in to a session, where no request of a browser's page brings it: sockets and tokens."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest, QueryDict
from django.http.cookie import parse_cookie

from gateway_project.lib.asgi import Scope, header
from tenants.access import requests
from tenants.sign_in import session_store


class ReadSession(dict[str, Any]):
    """The data of a session, to be read and not to be saved."""

    def flush(self) -> None:
        self.clear()

    def cycle_key(self) -> None:
        """Do nothing: the session keeps its cookie."""


def session_id_of(scope: Scope) -> str:
    """Return the id of the session whose cookie a handshake brings; empty if it brings none, or several."""
    sent = [value for name, value in scope["headers"] if name == b"cookie"]
    if len(sent) != 1:
        return ""
    cookie = parse_cookie(sent[0].decode("latin-1")).get(settings.SESSION_COOKIE_NAME, "")
    return session_store.digest_of(cookie) if cookie else ""


def request_of(
    session_id: str, *, query: str = "", scope: Scope | None = None
) -> HttpRequest | None:
    """Return a request of the person of this session as it is now; None if the session has ended, or they
    may do nothing at all.
    """
    data = session_store.read(session_id)
    if data is None:
        return None
    request = HttpRequest()
    request.method = "GET"
    request.GET = QueryDict(query)
    request.session = ReadSession(data)  # type: ignore[assignment]  # as much of one as is read
    if scope is not None:
        request.scope = scope  # type: ignore[attr-defined]  # as requests over ASGI have it
        _read_language(request, scope)
    user = get_user(request)
    if not user.is_authenticated:
        return None
    request.user = user
    if requests.lost_support(request) or not requests.access(request):
        return None
    return request


def _read_language(request: HttpRequest, scope: Scope) -> None:
    """Let the request know which language its reader chose, and which the browser asks for."""
    headers = scope["headers"]
    chosen = parse_cookie(header(headers, b"cookie").decode("latin-1"))
    request.COOKIES = {
        name: value for name, value in chosen.items() if name == settings.LANGUAGE_COOKIE_NAME
    }
    request.META["HTTP_ACCEPT_LANGUAGE"] = header(headers, b"accept-language").decode("latin-1")
