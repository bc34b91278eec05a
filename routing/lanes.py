"""Build the lanes of a route: each target with each credential that may be sent for it, and their prices.

Prices are looked up under names that the operator gave, never under one that a tenant chose.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Q

from gateway_project.lib.keyring import KeyringError
from gateway_project.lib.prepared import PreparedQuery
from gateway_project.lib.sealing import SealError
from gateway_project.lib.secret import Secret
from routing import credentials
from routing.models import Alias, Credential, Provider, ProviderModel
from routing.models import Target as TargetRow
from routing.policy import conditions, reasons
from routing.route import DroppedLane, ProviderLimits, Quirks, ResolvedTarget
from tenants.prices import book
from tenants.prices.history import FREE, History

logger = logging.getLogger("tollgate.routing")

# Planning looks at every lane of a route, for every call.
MAX_TARGETS = 100
MAX_POOL = 20
MAX_LANES = 64

Opened = tuple[Credential, Secret]
Pools = Mapping[int, Sequence[Opened]]  # by provider


@dataclass(frozen=True, slots=True)
class RouteLanes:
    """The lanes of a route in the order of their tiers, and those that take no call at all."""

    usable: tuple[ResolvedTarget, ...]
    left_out: tuple[DroppedLane, ...] = ()


def of_targets(rows: Sequence[TargetRow], tenant_id: int, alias: Alias | None) -> RouteLanes:
    """Build the lanes of targets, in few queries however many they are.

    `alias` is the platform's that was asked for; None if the models were reached otherwise.
    """
    left_out = [dropped for row in rows if (dropped := _left_out(row)) is not None]
    off = {dropped.lane.model_id for dropped in left_out}
    rows = [row for row in rows if row.provider_model_id not in off]
    models = [row.provider_model for row in rows]
    pools, priced = _pools(models, tenant_id), _Prices(models, tenant_id, alias)
    lanes = [
        priced.attach(replace(lane, **_place(row)), row.provider_model)
        for row in rows
        for lane in _of_model(row.provider_model, pools)
    ]
    left_out += [DroppedLane(lane, reasons.TOO_MANY) for lane in lanes[MAX_LANES:]]
    return RouteLanes(tuple(lanes[:MAX_LANES]), tuple(left_out[:MAX_LANES]))


def of_model(model: ProviderModel, tenant_id: int) -> RouteLanes:
    """Build the lanes of a model that no alias leads to."""
    priced = _Prices([model], tenant_id, None)
    lanes = _of_model(model, _pools([model], tenant_id))
    return RouteLanes(tuple(priced.attach(lane, model) for lane in lanes))


def target_of(model: ProviderModel, tenant_id: int) -> ResolvedTarget:
    """Return a model as calls of this tenant reach it first, without prices; 0 stands for the platform."""
    return _of_model(model, _pools([model], tenant_id))[0]


def _left_out(row: TargetRow) -> DroppedLane | None:
    """Return why a target takes no call; None if it does. One whose conditions were written past our
    validation is meant for nobody knows which calls."""
    if not row.enabled or not row.provider_model.provider.enabled:
        return DroppedLane(_bare(row), reasons.DISABLED)
    try:
        conditions.read(row.when)
    except ValueError as error:
        logger.error("the conditions of target %s cannot be read: %s", row.pk, error)
        return DroppedLane(_bare(row), reasons.WHEN, str(error))
    return None


def _bare(row: TargetRow) -> ResolvedTarget:
    return replace(_lane(row.provider_model, None), tier=row.position, weight=row.weight)


def _place(row: TargetRow) -> dict[str, Any]:
    return {"tier": row.position, "weight": row.weight, "when": conditions.read(row.when)}


# Credentials

_CREDENTIALS = PreparedQuery(
    lambda tenant, providers: (
        Credential.objects.select_related("provider")
        .filter(Q(tenant=None) | Q(tenant=tenant), provider__in=providers, enabled=True)
        .order_by("-created_at")
    )
)


def _pools(models: Iterable[ProviderModel], tenant_id: int) -> Pools:
    """Return the credentials to send by provider: all enabled ones of the tenant, or else all of the
    platform's, never some of both. Drained ones come last, then the newest first."""
    providers = {model.provider_id: model.provider for model in models}
    rows = _CREDENTIALS.rows(tenant_id or None, tuple(providers))
    found: dict[int, list[Credential]] = {}
    for row in rows:
        found.setdefault(row.provider_id, []).append(row)
    return {pk: _pool(providers[pk], rows, tenant_id) for pk, rows in found.items()}


def _pool(provider: Provider, rows: Sequence[Credential], tenant_id: int) -> Sequence[Opened]:
    """Return those credentials of a pool that can be opened, each with its secret."""
    own = [row for row in rows if row.tenant_id is not None]
    if not own or not provider.takes_credentials_of(tenant_id):
        own = [row for row in rows if row.tenant_id is None]
    pool = sorted(own, key=lambda row: row.weight == 0)[:MAX_POOL]
    return [(row, secret) for row in pool if (secret := _open_secret(row)) is not None]


def _of_model(model: ProviderModel, pools: Pools) -> list[ResolvedTarget]:
    """Return a model with each credential of its pool; at least one lane."""
    if model.provider.auth_kind == Provider.AuthKind.NONE:
        return [_lane(model, None)]
    pool = pools.get(model.provider_id, ())
    lanes = [replace(_lane(model, each), is_pooled=len(pool) > 1) for each in pool]
    return lanes or [_lane(model, None)]


def _lane(model: ProviderModel, sent: Opened | None) -> ResolvedTarget:
    """Return a model with a credential and its secret, or without, which is missing unless its provider
    wants none."""
    provider = model.provider
    lane = ResolvedTarget(
        provider=provider.name,
        protocol=provider.protocol,
        base_url=provider.base_url.rstrip("/"),
        auth_kind=provider.auth_kind,
        secret=None,
        owns_credential=False,
        missing_credential=sent is None and provider.auth_kind != Provider.AuthKind.NONE,
        allow_private_network=provider.allow_private_network,
        quirks=Quirks.from_row(provider.quirks),
        model=model.upstream_id,
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        capabilities=frozenset(model.capabilities),
        provider_id=provider.pk,
        model_id=model.pk,
        limits=_limits(provider),
        forward_trace_context=provider.forward_trace_context,
        target_spread=_spread(f"model {model.pk}"),
        is_tenants=provider.tenant_id is not None,
    )
    if sent is None:
        return lane
    credential, secret = sent
    return replace(
        lane,
        secret=secret,
        owns_credential=credential.tenant_id is not None,
        credential_id=str(credential.pk),
        credential_name=f"{credential.name} ••••{credential.last_four}",
        credential_weight=credential.weight,
        credential_spread=_spread(f"credential {credential.pk}"),
    )


def _open_secret(credential: Credential) -> Secret | None:
    """Return the secret; None if it cannot be opened, which makes the lane unusable instead of unsafe."""
    try:
        return credentials.reveal(credential)
    except (KeyringError, SealError) as error:
        logger.error("credential %s cannot be opened: %s", credential.pk, error)
        return None


def _limits(provider: Provider) -> ProviderLimits | None:
    try:
        return ProviderLimits.from_row(provider.limits)
    except (TypeError, ValueError) as error:
        logger.error("the limits of provider %s cannot be read: %s", provider.pk, error)
        return None


def _spread(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())


# Prices


class _Prices:
    """The prices of the models of one route, read in two queries however many they are."""

    def __init__(
        self, models: Sequence[ProviderModel], tenant_id: int, alias: Alias | None
    ) -> None:
        self._costs = book.costs((model.provider.name, model.upstream_id) for model in models)
        self._charges = _charges(models, tenant_id, alias)

    def attach(self, lane: ResolvedTarget, model: ProviderModel) -> ResolvedTarget:
        """Attach prices. What the tenant pays the provider itself costs us nothing; a charge applies only
        if priced."""
        cost, charges = self._costs[lane.provider, lane.model], self._charges[model.pk]
        if lane.owns_credential or model.provider.tenant_id is not None:
            # The operator says nothing of what a tenant's own provider lists.
            listed = cost if model.provider.tenant_id is None else None
            fee = book.charged_beside_own(charges)
            return replace(lane, cost=FREE, charge=fee, list_price=listed)
        return replace(lane, cost=cost, charge=book.charged(charges, cost))


def _charges(
    models: Sequence[ProviderModel], tenant_id: int, alias: Alias | None
) -> dict[int, History]:
    """Read each model's charge from the charge book, under names that only the operator gives."""
    if alias is not None:
        return dict.fromkeys((m.pk for m in models), book.charge_book(tenant_id, alias.name))
    names = {model.pk: _price_names(model) for model in models}
    books = book.charge_books(tenant_id, {name for each in names.values() for name in each})
    return {pk: book.first_of(books[name] for name in each) for pk, each in names.items()}


def _price_names(model: ProviderModel) -> list[str]:
    """Return the names under which to look for the price of a model not reached by an alias of the
    platform.

    Its own name comes first, then that of an alias which leads to it. A model of a tenant's own provider
    is priced like all of its kind.
    """
    if model.provider.tenant_id is not None:
        return [book.OWN_PROVIDERS]
    aliases = Alias.objects.filter(tenant=None, enabled=True, targets__provider_model=model)
    return [str(model), *aliases.order_by("pk").values_list("name", flat=True)]
