"""Let requests in: limit them by network address, and find whose key they carry.

An address that sent too many wrong keys gets 429 before any further key is looked up. Keys that this
worker knows go on working from there: a neighbour behind the same address may be guessing.
"""

from __future__ import annotations

import functools

from gateway_project.lib.asgi import CLIENT, Scope
from gateway_project.lib.client_address import TrustedProxies, client_address, network_of
from gateway_project.lib.errors import Unauthenticated
from gateway_project.lib.rates import Rate
from tenants.keys.authentication import Authenticator, credential_of
from tenants.keys.caller import Caller
from tenants.limits import policy
from tenants.limits.gate import ADDRESS, FAILED, RateLimiter
from tenants.limits.policy import RateLimits


class Doorkeeper:
    """The doorkeeper of one worker. `all_traffic` limits requests from one address, `failures` its wrong
    keys.
    """

    def __init__(
        self,
        gate: RateLimiter,
        authenticator: Authenticator,
        *,
        trusted_proxies: TrustedProxies,
        all_traffic: tuple[Rate, ...],
        failures: tuple[Rate, ...],
    ) -> None:
        self._gate = gate
        self._authenticator = authenticator
        self._trusted_proxies = trusted_proxies
        self._all_traffic = all_traffic
        self.failures = failures

    def address_of(self, scope: Scope) -> str:
        """Return the client's address, seen through trusted proxies; kept in the scope for the log."""
        address: str | None = scope.get(CLIENT)
        if address is None:
            peer, headers = scope.get("client"), scope["headers"]
            address = scope[CLIENT] = client_address(peer, headers, self._trusted_proxies)
        return address

    async def authenticate(self, scope: Scope, permission: str) -> Caller:
        """Return the caller, if the key may do this from this address. Raise GatewayError."""
        address = scope.get(CLIENT) or self.address_of(scope)
        if self._all_traffic:
            await self.let_in(address)
        caller = await self._find_caller(scope, address)
        caller.admit(permission, address)
        return caller

    async def authenticate_again(self, scope: Scope, permission: str, *, counts: bool) -> Caller:
        """Check again a caller that was let in before, and wants to go on by an open connection. Raise
        GatewayError.
        """
        address = self.address_of(scope)
        if counts:
            await self.let_in(address)
        caller = await self._authenticator.find(credential_of(scope["headers"]))
        caller.admit(permission, address)
        return caller

    async def identify(self, scope: Scope) -> Caller:
        """Return whose key it is, whatever it may do. Raise GatewayError."""
        return await self._find_caller(scope, self.address_of(scope))

    async def let_in(self, address: str) -> None:
        """Count a request, whatever it asks for. Raise RateLimited or Unavailable."""
        if self._all_traffic:
            await self._gate.admit(limits_of(ADDRESS, address, self._all_traffic), 0)

    async def look(self, address: str) -> None:
        """Raise RateLimited if no keys are looked up for this address, or Unavailable."""
        await self._gate.look(limits_of(FAILED, address, self.failures))

    async def note_failure(self, address: str) -> None:
        """Count a wrong key. Raise RateLimited if that was one too many, or Unavailable."""
        await self._gate.admit(limits_of(FAILED, address, self.failures), 0)

    async def _find_caller(self, scope: Scope, address: str) -> Caller:
        try:
            key = credential_of(scope["headers"])
            known = self._authenticator.get_cached(key)
            if known is not None:
                return known
            await self.look(address)
            return await self._authenticator.find(key)
        except Unauthenticated:
            await self.note_failure(address)
            raise


@functools.lru_cache(maxsize=4096)
def limits_of(owner: str, address: str, rates: tuple[Rate, ...]) -> RateLimits:
    """Return the limits of the address, or of its network where everybody has a network of their own."""
    return RateLimits(policy.of_rates(owner, network_of(address), rates))
