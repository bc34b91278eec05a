"""Who may come in: limits by network address, and whose key it is.

An address that sent too many wrong keys is told 429 before any further key is looked up. Keys that this
worker knows go on working from there: a neighbour behind the same address may be guessing.
"""

from __future__ import annotations

import functools

from gateway_project.lib.asgi import CLIENT, Scope
from gateway_project.lib.client_address import TrustedProxies, client_address, network_of
from gateway_project.lib.errors import Unauthenticated
from gateway_project.lib.rates import Rate
from tenants.authentication import Authenticator, credential_of
from tenants.caller import Caller
from tenants.limits import policy
from tenants.limits.gate import ADDRESS, FAILED, Gate
from tenants.limits.policy import Limits


class Doorkeeper:
    """One per worker. `all_traffic` limits requests from one address, `failures` its wrong keys."""

    def __init__(
        self,
        gate: Gate,
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
        self._failures = failures

    def address_of(self, scope: Scope) -> str:
        """The address of the client, seen through trusted proxies; kept in the scope for the log."""
        address: str | None = scope.get(CLIENT)
        if address is None:
            peer, headers = scope.get("client"), scope["headers"]
            address = scope[CLIENT] = client_address(peer, headers, self._trusted_proxies)
        return address

    async def authenticated(self, scope: Scope, permission: str) -> Caller:
        """Whose request it is, if they may do this from where they are. Raises GatewayError."""
        address = self.address_of(scope)
        await self.let_in(address)
        caller = await self._known(scope, address)
        caller.admit(permission, address)
        return caller

    async def authenticated_again(self, scope: Scope, permission: str, *, counts: bool) -> Caller:
        """The same of somebody who was let in before, and may go on by an open connection. Raises
        GatewayError."""
        address = self.address_of(scope)
        if counts:
            await self.let_in(address)
        caller = await self._authenticator.find(credential_of(scope["headers"]))
        caller.admit(permission, address)
        return caller

    async def whose(self, scope: Scope) -> Caller:
        """Whose key it is, whatever it may do. Raises GatewayError."""
        return await self._known(scope, self.address_of(scope))

    async def let_in(self, address: str) -> None:
        """Count a request, whatever it asks for. Raises RateLimited, Unavailable."""
        if self._all_traffic:
            await self._gate.admit(limits_of(ADDRESS, address, self._all_traffic), 0)

    async def look(self, address: str) -> None:
        """Whether keys are looked up that come from there. Raises RateLimited, Unavailable."""
        await self._gate.look(limits_of(FAILED, address, self._failures))

    async def failed(self, address: str) -> None:
        """A wrong key came from there. Raises RateLimited if that was one too many, Unavailable."""
        await self._gate.admit(limits_of(FAILED, address, self._failures), 0)

    async def _known(self, scope: Scope, address: str) -> Caller:
        try:
            key = credential_of(scope["headers"])
            known = self._authenticator.known(key)
            if known is not None:
                return known
            await self.look(address)
            return await self._authenticator.find(key)
        except Unauthenticated:
            await self.failed(address)
            raise


@functools.lru_cache(maxsize=4096)
def limits_of(owner: str, address: str, rates: tuple[Rate, ...]) -> Limits:
    """Of the address; of its network where everybody has a network of their own."""
    return Limits(policy.of_rates(owner, network_of(address), rates))
