"""Let requests to the management API in: by address, by token, and by how many the token makes."""

from __future__ import annotations

from django.conf import settings

from gateway_project.lib.asgi import Scope, note
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.db import in_database_thread
from gateway_project.lib.errors import InvalidToken, Unauthenticated, Unavailable
from gateway_project.lib.prefixes import is_documentation
from responses_api.services import Services
from tenants.keys import api_tokens
from tenants.keys.api_tokens import TokenHolder
from tenants.keys.authentication import credential_of
from tenants.limits import policy
from tenants.limits.gate import TOKEN
from tenants.limits.policy import RateLimits

# No object that is managed needs more.
MAX_BODY_BYTES = 1024 * 1024


async def admit(services: Services, scope: Scope) -> None:
    """Note in the scope who asks. Raise GatewayError if they may not."""
    keeper = services.doorkeeper
    address = keeper.address_of(scope)
    await keeper.let_in(address)
    if is_documentation(scope["path"]):
        return
    await keeper.look(address)
    try:
        holder = await _find(scope)
    except InvalidToken:
        await keeper.note_failure(address)
        raise
    note(scope, tenant=holder.tenant_slug, key=holder.public_id)
    await services.gate.admit(_limits_of(holder.public_id), 0)
    scope[api_tokens.HOLDER] = holder


async def _find(scope: Scope) -> TokenHolder:
    """Return the holder of the request's token. Raise InvalidToken, ConflictingCredentials or Unavailable."""
    try:
        text = credential_of(scope["headers"])
    except Unauthenticated:
        raise InvalidToken from None
    try:
        holder = await in_database_thread(api_tokens.find, text)
    except StoreUnavailable as error:
        message = "The database is unavailable; try again."
        raise Unavailable(message, retry_after_seconds=2) from error
    if holder is None:
        raise InvalidToken
    return holder


def _limits_of(public_id: str) -> RateLimits:
    return RateLimits(policy.of_rates(TOKEN, public_id, settings.API_LIMITS))
