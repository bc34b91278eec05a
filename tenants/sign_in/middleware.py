"""Guard the console's pages: on which hosts they answer, and what a session must have to see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from allauth.account.middleware import AccountMiddleware
from allauth.core.exceptions import ReauthenticationRequired
from django.conf import settings
from django.http import HttpRequest, HttpResponseNotAllowed, HttpResponseNotFound
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext

from gateway_project.lib.hosts import AllowedHosts
from tenants.access.middleware import CONSOLE
from tenants.console import live
from tenants.sign_in import demands, sessions

GetResponse = Callable[[HttpRequest], HttpResponseBase]
# All that pages and forms of a browser send; Django's pages would take any other for one of them.
METHODS = ("GET", "HEAD", "POST")


class ConsoleHostMiddleware:
    """Answers 404 for the console on a host that is not the console's, and lets nobody keep what it shows:
    not even the page that went before a sign-out. Stands first.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response
        self._hosts = AllowedHosts(settings.CONSOLE_HOSTS)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not _is_of_console(request.path):
            return self._get_response(request)
        response = self._answer(request)
        add_never_cache_headers(response)
        return response

    def _answer(self, request: HttpRequest) -> HttpResponseBase:
        host = request.get_host().encode("latin-1", "replace") if settings.CONSOLE_HOSTS else b""
        if not settings.CONSOLE_HOSTS or self._hosts.allows(host):
            return self._get_response(request)
        text = "There is no page at this address.\n"
        return HttpResponseNotFound(text, content_type="text/plain; charset=utf-8")


class SignInMiddleware:
    """Gives allauth the request of the console's pages, and refuses what no page is asked with; the API's
    pass by.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response
        self._allauth = AccountMiddleware(self._answer)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path.startswith(CONSOLE):
            return self._get_response(request)
        if request.method not in METHODS:
            return HttpResponseNotAllowed(METHODS)
        response: HttpResponseBase = self._allauth(request)
        return response

    def _answer(self, request: HttpRequest) -> HttpResponseBase:
        if request.user.is_authenticated:
            if not request.path.startswith(
                live.POLLED
            ):  # an open page alone is no use of a session
                sessions.touch(request)
            is_account = request.path.startswith(demands.ACCOUNTS)
            if is_account and not _is_open_to_bound(request.path) and demands.is_bound(request):
                return self._refuse_account(request)
            if demands.leads_away(request):
                return redirect("second_factor")
        return self._get_response(request)

    def _refuse_account(self, request: HttpRequest) -> HttpResponseBase:
        """Keep a tenant's provider from changing how its people sign in elsewhere."""
        reason = gettext("How you sign in is settled by your organisation's identity provider.")
        return render(request, "sign_in/refused.html", {"reason": reason}, status=403)

    def process_exception(self, request: HttpRequest, exception: Exception) -> Any:
        """Lead to the page that asks for the password again, where a view demanded that."""
        response = self._allauth.process_exception(request, exception)
        if not isinstance(exception, ReauthenticationRequired) or request.method != "POST":
            return response
        # What was sent is kept with its query, and goes on only if this is its path alone.
        return redirect(f"{response.url.partition('?')[0]}?{urlencode({'next': request.path})}")


def _is_of_console(path: str) -> bool:
    return path in {"/", CONSOLE.rstrip("/")} or path.startswith(CONSOLE)


def _is_open_to_bound(path: str) -> bool:
    """Tell whether a page of the account is for sessions of a tenant's provider, too."""
    return path.removeprefix(demands.ACCOUNTS).partition("/")[0] in {
        "language",
        "logout",
        "no-access",
        "provider",
    }
