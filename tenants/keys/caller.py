"""Define the caller: the frozen value the hot path works with, and how it is read from the database."""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from datetime import datetime

from gateway_project.lib import clock
from gateway_project.lib.errors import PermissionDenied, Unauthenticated
from gateway_project.lib.prepared import PreparedQuery
from tenants.budgets import terms
from tenants.budgets.terms import BudgetTerms
from tenants.keys import peppers
from tenants.limits import policy
from tenants.limits.policy import NO_LIMITS, RateLimits
from tenants.models import ApiKey, KeySecret, Tenant

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_SECRETS = PreparedQuery(
    lambda digests: KeySecret.objects.select_related("api_key__tenant").filter(digest__in=digests)[
        :1
    ]
)
_KEYS = PreparedQuery(
    lambda tenant, public_id: ApiKey.objects.select_related("tenant").filter(
        tenant=tenant, public_id=public_id
    )[:1]
)


@dataclass(frozen=True, slots=True)
class Caller:
    """A key that was valid when it was read.

    `expires_at` is seconds since the epoch, or None. Of its `budgets`, `list_budgets` are those that
    count list prices, and `fee_budgets` the others.
    """

    key_id: int
    key_public_id: str
    tenant_id: int
    tenant_slug: str
    scopes: frozenset[str]
    all_aliases: bool
    allow_direct_targets: bool
    networks: tuple[Network, ...]
    expires_at: float | None
    store_by_default: bool = True
    retention_days: int = 30
    limits: RateLimits = NO_LIMITS
    budgets: tuple[BudgetTerms, ...] = ()
    fee_budgets: tuple[BudgetTerms, ...] = ()
    list_budgets: tuple[BudgetTerms, ...] = ()
    shows_upstreams: bool = False  # its tenant may see which provider and model answered
    end_user: str = ""  # who calls, where that is known better than from what they send

    def admit(self, scope: str, client_address: str) -> None:
        """Raise unless this key may do `scope` now from this address."""
        self.admit_later(scope)
        if self.networks and not self._is_allowed(client_address):
            raise PermissionDenied("This API key may not be used from your network address.")

    def admit_later(self, scope: str) -> None:
        """Raise unless the key may still do work whose request was admitted some time ago."""
        if self.expires_at is not None and clock.timestamp() >= self.expires_at:
            raise Unauthenticated
        if scope not in self.scopes:
            raise PermissionDenied(f"This API key lacks the scope {scope!r}.")

    def _is_allowed(self, client_address: str) -> bool:
        try:
            address = ipaddress.ip_address(client_address)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self.networks)


def find(key: str) -> Caller | None:
    """Return the caller behind a well-formed key, or None if it is unknown, ended, revoked or suspended."""
    by_digest = peppers.digests(key)
    secret = next(iter(_SECRETS.rows(tuple(by_digest))), None)
    if secret is None or not _is_usable(secret):
        return None
    stored = bytes(secret.digest)
    if not any(hmac.compare_digest(stored, digest) for digest in by_digest):
        return None
    if secret.pepper_id != peppers.keyring().current[0]:
        _redigest(secret, key)
    return _caller(secret.api_key, secret.expires_at)


def find_by_id(tenant_id: int, public_id: str) -> Caller | None:
    """Return the caller behind a tenant's key whose secret was checked earlier; None if the key has ended
    since.

    A secret that has expired meanwhile makes no difference.
    """
    key = next(iter(_KEYS.rows(tenant_id, public_id)), None)
    return _caller(key) if key is not None and _is_active(key, key.expires_at) else None


def keyless(tenant: Tenant | None) -> Caller:
    """Return the caller that a key of this tenant would be which may do everything and has no limits; None
    stands for a tenant with nothing of its own. To look at, not to call with."""
    return Caller(
        key_id=0,
        key_public_id="",
        tenant_id=tenant.pk if tenant is not None else 0,
        tenant_slug=tenant.slug if tenant is not None else "",
        scopes=frozenset(),
        all_aliases=True,
        allow_direct_targets=True,
        networks=(),
        expires_at=None,
    )


def _is_usable(secret: KeySecret) -> bool:
    return _is_active(secret.api_key, secret.expires_at, secret.api_key.expires_at)


def _is_active(key: ApiKey, *ends: datetime | None) -> bool:
    now = clock.now()
    return (
        key.revoked_at is None
        and key.tenant.status == Tenant.Status.ACTIVE
        and all(now < moment for moment in ends if moment is not None)
    )


def _redigest(secret: KeySecret, key: str) -> None:
    """Move a digest to the current pepper at its next use, so that old peppers can be retired."""
    pepper_id, _ = peppers.keyring().current
    KeySecret.objects.filter(pk=secret.pk).update(digest=peppers.digest(key), pepper_id=pepper_id)


def _caller(key: ApiKey, secret_expires_at: datetime | None = None) -> Caller:
    budgets = terms.of_key(key)
    return Caller(
        key_id=key.pk,
        key_public_id=key.public_id,
        tenant_id=key.tenant_id,
        tenant_slug=key.tenant.slug,
        scopes=frozenset(key.scopes),
        all_aliases=key.all_aliases,
        allow_direct_targets=key.tenant.allow_direct_targets,
        networks=tuple(ipaddress.ip_network(entry) for entry in key.allowed_networks),
        expires_at=_earliest(secret_expires_at, key.expires_at),
        store_by_default=key.tenant.store_by_default,
        retention_days=key.tenant.retention_days,
        limits=policy.of_key(key),
        budgets=budgets,
        fee_budgets=tuple(each for each in budgets if not each.counts_list_price),
        list_budgets=tuple(each for each in budgets if each.counts_list_price),
        shows_upstreams=key.tenant.shows_upstreams,
    )


def _earliest(*moments: datetime | None) -> float | None:
    known = [moment.timestamp() for moment in moments if moment is not None]
    return min(known) if known else None
