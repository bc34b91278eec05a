"""Say who is acting in every request of the console, so that what it changes can be told to be theirs."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.middleware.csrf import rotate_token
from django.utils.translation import gettext_lazy

from gateway_project.lib.actor import Actor, acting
from gateway_project.lib.asgi import note
from tenants.access import requests
from tenants.access.addresses import address_of

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
LOST = gettext_lazy(
    "Your time as the tenant is over: you act as yourself again. Nothing was done of what you sent."
)

# Where gateway_project/urls.py puts it; to look it up would import every page when a worker starts.
CONSOLE = "/console/"


class ActorMiddleware:
    """Lets the signed-in person act while their request is answered. Stands after messages."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path.startswith(CONSOLE):
            return self._get_response(request)
        if requests.lost_support(request):
            return self._tell_of_lost_support(request)
        person = _person(request)
        if person.id and (scope := getattr(request, "scope", None)) is not None:
            note(scope, account=person.id)  # for the log
        with acting(person):
            return self._get_response(request)

    def _tell_of_lost_support(self, request: HttpRequest) -> HttpResponseBase:
        """Do nothing of what was asked but tell: a form filled in with a tenant's rights is not sent with
        an operator's, neither this one nor any that another window still shows.
        """
        rotate_token(request)
        messages.warning(request, LOST)
        is_safe = request.method in SAFE
        return HttpResponseRedirect(request.get_full_path() if is_safe else CONSOLE)


def _person(request: HttpRequest) -> Actor:
    user, session = request.user, requests.support_session(request)
    return Actor(
        "person",
        str(user.pk or ""),
        user.get_username() or "somebody who is not signed in",
        address_of(request),
        reason=session.reason if session is not None else "",
    )
