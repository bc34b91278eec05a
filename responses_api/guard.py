"""The doorkeeper before what Django serves: the resource routes, which look at keys themselves, and pages."""

from __future__ import annotations

from django.conf import settings

from gateway_project.lib.asgi import Scope
from gateway_project.lib.errors import GatewayError, RateLimited, Unauthenticated
from responses_api import worker
from responses_api.prefixes import is_api


async def refusal(scope: Scope) -> GatewayError | None:
    """Why the request is not let in, if it is not."""
    path: str = scope["path"]
    if path.startswith(f"/{settings.STATIC_URL.lstrip('/')}"):
        return None
    keeper = worker.current().doorkeeper
    address = keeper.address_of(scope)
    try:
        await keeper.let_in(address)
        if is_api(path):
            await keeper.look(address)
    except GatewayError as error:
        return error
    return None


async def answered(scope: Scope, status: int) -> None:
    """Note how it was answered: a wrong key counts here as elsewhere."""
    if status != Unauthenticated.status or not is_api(scope["path"]):
        return
    keeper = worker.current().doorkeeper
    try:
        await keeper.failed(keeper.address_of(scope))
    except RateLimited:
        pass  # the next one is refused
