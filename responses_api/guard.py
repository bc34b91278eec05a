"""The doorkeeper before what looks at no key, and before what Django serves: the resource routes, which look
at keys themselves, and the console, which looks at passwords."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.signals import user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest
from django.urls import reverse

from gateway_project.lib.asgi import Scope
from gateway_project.lib.errors import GatewayError, RateLimited, Unauthenticated
from responses_api import worker
from responses_api.prefixes import is_api

# Stands in the scope of a request by which somebody failed to sign in to the console.
_WRONG_PASSWORD = "tollgate.wrong_password"


async def refusal(scope: Scope) -> GatewayError | None:
    """Why the request is not let in, if it is not."""
    path: str = scope["path"]
    if path.startswith(f"/{settings.STATIC_URL.lstrip('/')}"):
        return None
    keeper = worker.current().doorkeeper
    address = keeper.address_of(scope)
    try:
        await keeper.let_in(address)
        if is_api(path) or _is_sign_in(scope):
            await keeper.look(address)
    except GatewayError as error:
        return error
    return None


async def answered(scope: Scope, status: int) -> None:
    """Note how it was answered: a wrong key counts here as elsewhere, and a wrong password as well."""
    is_wrong_key = status == Unauthenticated.status and is_api(scope["path"])
    if not is_wrong_key and _WRONG_PASSWORD not in scope:
        return
    keeper = worker.current().doorkeeper
    try:
        await keeper.failed(keeper.address_of(scope))
    except RateLimited:
        pass  # the next one is refused


def _is_sign_in(scope: Scope) -> bool:
    return bool(scope["method"] == "POST" and scope["path"] == reverse("admin:login"))


@receiver(user_login_failed)
def _note_wrong_password(request: HttpRequest | None = None, **_: Any) -> None:
    if (scope := getattr(request, "scope", None)) is not None:
        scope[_WRONG_PASSWORD] = True
