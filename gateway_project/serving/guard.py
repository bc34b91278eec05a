"""Apply the doorkeeper to requests that look at no key, and to those Django serves: the resource routes,
which check keys themselves, and the console, which checks passwords and invitations.
"""

from __future__ import annotations

from typing import Any

from allauth.mfa.signals import authentication_failed
from django.conf import settings
from django.contrib.auth.signals import user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from gateway_project.lib.asgi import Scope
from gateway_project.lib.errors import GatewayError, RateLimited, Unauthenticated
from gateway_project.lib.prefixes import is_api, is_management
from gateway_project.serving import management
from responses_api import app_state
from tenants.members.invitations import invitation_refused

# Stands in the scope of a request with a wrong password, or a link of an invitation that opens nothing.
_WRONG_PASSWORD = "tollgate.wrong_password"
_INVITATIONS = "/console/invitations/"
# Every form that takes a password or a code, as gateway_project/urls.py has them.
SIGN_IN = "/console/accounts/"


async def refusal(scope: Scope) -> GatewayError | None:
    """Return why the request is refused, or None if it is let in."""
    path: str = scope["path"]
    if path.startswith(f"/{settings.STATIC_URL.lstrip('/')}"):
        return None
    services = app_state.of(scope).services
    keeper = services.doorkeeper
    address = keeper.address_of(scope)
    try:
        if is_management(path):
            await management.admit(services, scope)
            return None
        await keeper.let_in(address)
        if is_api(path) or _is_sign_in(scope) or path.startswith(_INVITATIONS):
            await keeper.look(address)
    except GatewayError as error:
        return error
    return None


async def note_answer(scope: Scope, status: int) -> None:
    """Count a wrong key, as elsewhere, or a wrong password from the answer's status."""
    is_wrong_key = status == Unauthenticated.status and is_api(scope["path"])
    if not is_wrong_key and _WRONG_PASSWORD not in scope:
        return
    keeper = app_state.of(scope).services.doorkeeper
    try:
        await keeper.note_failure(keeper.address_of(scope))
    except RateLimited:
        pass  # the next one is refused


def _is_sign_in(scope: Scope) -> bool:
    return bool(scope["method"] == "POST" and scope["path"].startswith(SIGN_IN))


@receiver(invitation_refused)
@receiver(user_login_failed)
@receiver(authentication_failed)  # of a second factor
def _note_wrong_password(request: HttpRequest | None = None, **_: Any) -> None:
    if (scope := getattr(request, "scope", None)) is not None:
        scope[_WRONG_PASSWORD] = True
