"""Close tenants to sessions that do not meet what they demand, or that came through another's provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from django.http import HttpRequest

from tenants.access.access import NOBODY, Access, access_of
from tenants.access.rights import NONE
from tenants.sign_in import origin
from tenants.sign_in.factors import has_one
from tenants.sign_in.origin import Origin

ACCOUNTS = "/console/accounts/"
TOLD = "tollgate.told_of_demand"


@dataclass(frozen=True, slots=True)
class ClosedTenants:
    """Tenants a session may not see, with their names, by what they demand."""

    second_factor: Mapping[int, str] = field(default_factory=dict)
    provider: Mapping[int, str] = field(default_factory=dict)

    @property
    def tenants(self) -> frozenset[int]:
        return frozenset(self.second_factor) | frozenset(self.provider)


def access_in(request: HttpRequest) -> Access:
    """Return what the person behind this request may do in this session."""
    return narrow(_person_access(request), request)


def narrow(access: Access, request: HttpRequest) -> Access:
    """Return what of a person's access this session may use."""
    came = origin.of(request.session) if hasattr(request, "session") else None
    if came is not None and (came.tenant is not None or not origin.is_trusted(came)):
        return _within(access, came)
    if not access.grants:
        return access
    closed = closed_tenants(access, request).tenants
    left = {tenant: held for tenant, held in access.grants.items() if tenant not in closed}
    return replace(access, grants=left)


def _within(access: Access, came: Origin) -> Access:
    """Return the rights in the tenant of the session's provider, and never an operator's."""
    held = access.grants.get(came.tenant) if came.tenant is not None else None
    if held is None or came.tenant is None or not origin.is_trusted(came):
        return NOBODY
    return replace(access, platform=NONE, grants={came.tenant: held})


def closed_tenants(access: Access, request: HttpRequest) -> ClosedTenants:
    """Return the person's tenants that demand more than this session has; read once a request."""
    found: ClosedTenants | None = getattr(request, "closed_tenants", None)
    if found is None:
        found = _closed(access, request)
        request.closed_tenants = found  # type: ignore[attr-defined]  # our own mark on it
    return found


def leads_away(request: HttpRequest) -> bool:
    """Tell whether the person has to be told first what a tenant of theirs demands.

    Once a session where something else is open to them, and always where nothing is.
    """
    if request.method != "GET" or request.path.startswith(ACCOUNTS) or is_bound(request):
        return False
    access = _person_access(request)
    closed = closed_tenants(access, request).tenants if access.grants else frozenset()
    if not closed or (access.tenants > closed and request.session.get(TOLD)):
        return False
    request.session[TOLD] = True
    return True


def is_bound(request: HttpRequest) -> bool:
    """Tell whether the session came through a tenant's provider, which also keeps the person's account."""
    came = origin.of(request.session)
    return came is not None and came.tenant is not None


def _closed(access: Access, request: HttpRequest) -> ClosedTenants:
    found = [access.known[pk] for pk in sorted(access.grants)]
    bound = {each.pk: each.name for each in found if each.requires_identity_provider}
    weak = {each.pk: each.name for each in found if each.requires_second_factor}
    weak = {pk: name for pk, name in weak.items() if pk not in bound}
    if weak and has_one(request.user.pk or 0):
        weak = {}
    return ClosedTenants(weak, bound)


def _person_access(request: HttpRequest) -> Access:
    """Return the person's access in any session; read once a request."""
    read: tuple[Any, Access] | None = getattr(request, "person_access", None)
    if read is None or read[0] is not request.user:  # somebody signs in during a request
        read = request.user, access_of(request.user)
        request.person_access = read  # type: ignore[attr-defined]  # our own mark on it
    return read[1]
