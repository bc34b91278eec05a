"""Resolve a model name to a Route, for one caller.

The look-up order is: an alias of the caller's tenant, an alias of the platform, then (where the tenant
allows it) `provider/model` or `provider@model`. A name that is unknown, disabled or not granted gives one
and the same 404, so that nobody learns what others have.
"""

from __future__ import annotations

import re
from typing import cast

from django.db.models import F, Q, QuerySet

from gateway_project.lib import clock
from gateway_project.lib.cache import LoadingCache, StoreUnavailable
from gateway_project.lib.db import in_database_thread
from gateway_project.lib.errors import ModelNotFound, Unavailable
from gateway_project.lib.prepared import PreparedQuery
from routing import cache_policy, lanes
from routing.models import Alias, AliasGrant, ProviderModel
from routing.models import Target as TargetRow
from routing.policy.wants import wanted
from routing.route import USUAL_POLICY, Affinity, Route, RoutingPolicy, Strategy
from tenants.budgets.used import used_percent
from tenants.keys.caller import Caller

FRESH_SECONDS = 30.0
STALE_SECONDS = 300.0
MAX_ROUTES = 20_000
MAX_UNKNOWN = 5_000
MAX_NAME_LENGTH = 300


def model_not_found(model: str) -> ModelNotFound:
    """Return the same error for a model this key cannot use, whatever the reason."""
    return ModelNotFound(
        f"The model {model[:MAX_NAME_LENGTH]!r} does not exist or this API key may not use it. "
        "GET /v1/models lists what it may use.",
        param="model",
    )


class Router:
    """Routes by caller and model name, cached until the configuration's revision changes."""

    def __init__(self) -> None:
        self._routes: LoadingCache[tuple[int, int, str], Route] = LoadingCache(
            fresh_seconds=FRESH_SECONDS,
            stale_seconds=STALE_SECONDS,
            max_entries=MAX_ROUTES,
            max_absent=MAX_UNKNOWN,
        )

    async def route(self, caller: Caller, model: str) -> Route:
        """Return the route, without awaiting for a cached name. Raise ModelNotFound or Unavailable."""
        key = (caller.tenant_id, caller.key_id, model)
        return self._routes.fresh(key) or await self._look_up(key, caller, model)

    def clear(self) -> None:
        self._routes.clear()

    async def _look_up(self, key: tuple[int, int, str], caller: Caller, model: str) -> Route:
        if not _can_be_a_name(model):
            raise model_not_found(model)
        try:
            route = await self._routes.get(key, lambda: in_database_thread(find, caller, model))
        except StoreUnavailable as error:
            message = "The database is unavailable; try again."
            raise Unavailable(message, retry_after_seconds=2) from error
        if route is None:
            raise model_not_found(model)
        return route


def visible_aliases(caller: Caller) -> QuerySet[Alias]:
    """Return the enabled aliases this key may use; a tenant's own hides the platform's of the same name.

    A link exists while the platform's alias does, and a restricted key needs a grant for both.
    """
    return _visible(caller.tenant_id, _restricted(caller))


def _restricted(caller: Caller) -> int | None:
    """Return the id of a key that may use only what it was granted; None if it may use all aliases."""
    return None if caller.all_aliases else caller.key_id


def _visible(tenant_id: int, restricted_key: int | None) -> QuerySet[Alias]:
    aliases = Alias.objects.filter(Q(tenant=tenant_id) | Q(tenant=None), enabled=True)
    own_names = Alias.objects.filter(tenant=tenant_id, enabled=True).values("name")
    aliases = aliases.exclude(Q(tenant=None) & Q(name__in=own_names))
    link = Q(platform_alias__tenant=None, platform_alias__enabled=True)
    if restricted_key is not None:
        granted = AliasGrant.objects.filter(api_key=restricted_key).values("alias")
        aliases = aliases.filter(pk__in=granted)
        link &= Q(platform_alias__in=granted)
    return aliases.filter(Q(platform_alias__isnull=True) | link).order_by("name")


_NAMED = PreparedQuery(
    lambda tenant_id, restricted_key, name: (
        _visible(tenant_id, restricted_key).filter(name=name).select_related("platform_alias")[:1]
    )
)


def visible_alias(caller: Caller, name: str) -> Alias | None:
    """Return the alias of this name if the key may use it."""
    if not _can_be_a_name(name):
        return None
    found = _NAMED.rows(caller.tenant_id, _restricted(caller), name)
    return found[0] if found else None


def _can_be_a_name(model: str) -> bool:
    """Tell whether a look-up is worthwhile; PostgreSQL rejects a NUL in a query."""
    return len(model) <= MAX_NAME_LENGTH and "\0" not in model


def find(caller: Caller, model: str) -> Route | None:
    """Read the route from the database; None if there is none for this caller."""
    alias = visible_alias(caller, model)
    if alias is not None:
        return _route_of_alias(alias, caller)
    if caller.allow_direct_targets and caller.all_aliases:
        return _direct_route(caller, model)
    return None


_TARGETS = PreparedQuery(
    lambda alias: (
        TargetRow.objects.filter(alias=alias)
        .select_related("provider_model__provider")
        .order_by("position", "pk")[: lanes.MAX_TARGETS]
    )
)


def _route_of_alias(alias: Alias, caller: Caller) -> Route:
    """Build the route of an alias. Both aliases of a link contribute."""
    source = alias.platform_alias or alias
    reached = [row for row in _TARGETS.rows(source.pk) if _may_reach(source, row, caller)]
    found = lanes.of_targets(
        reached, caller.tenant_id, source if source.tenant_id is None else None
    )
    policy = _policy(source)
    wants = wanted(found.usable, policy)
    used = None
    if "budget_used_percent" in wants:
        used = used_percent(caller.budgets, clock.timestamp())
    native_only = Alias.ResponsesMode.NATIVE_ONLY
    stores = alias.store_by_default
    return Route(
        alias=source.name,
        native_only=native_only in {alias.responses_mode, source.responses_mode},
        drop_unsupported=alias.drop_unsupported or source.drop_unsupported,
        store_by_default=source.store_by_default if stores is None else stores,
        resumable_streams=alias.resumable_streams or source.resumable_streams,
        targets=found.usable,
        requested_model="" if alias.name == source.name else alias.name,
        policy=policy,
        left_out=found.left_out,
        wants=wants,
        budget_used_percent=used,
        cache=cache_policy.of_alias(alias, found.usable),
        is_tenants=source.tenant_id is not None,
    )


def _policy(alias: Alias) -> RoutingPolicy:
    return RoutingPolicy(
        strategy=cast("Strategy", alias.strategy),
        affinity=cast("Affinity", alias.affinity),
        affinity_seconds=alias.affinity_seconds,
        max_attempts=alias.max_attempts,
        wait_seconds=alias.wait_seconds,
        fall_back_on=frozenset(alias.fall_back_on),
    )


def _direct_route(caller: Caller, model: str) -> Route | None:
    parts = re.split(r"[/@]", model, maxsplit=1)
    if len(parts) != 2:
        return None
    row = (
        ProviderModel.objects.filter(
            Q(provider__tenant=caller.tenant_id) | Q(provider__tenant=None),
            provider__name=parts[0],
            provider__enabled=True,
            upstream_id=parts[1],
        )
        .select_related("provider")
        .order_by(F("provider__tenant").desc(nulls_last=True))
        .first()
    )
    if row is None:
        return None
    found = lanes.of_model(row, caller.tenant_id)
    return Route(
        alias=str(row),
        native_only=False,
        drop_unsupported=False,
        targets=found.usable,
        requested_model="" if model == str(row) else model,
        wants=wanted(found.usable, USUAL_POLICY),
        is_tenants=row.provider.tenant_id is not None,
    )


def _may_reach(alias: Alias, target: TargetRow, caller: Caller) -> bool:
    """Ignore rows written past our validation: only the operator decides what a tenant reaches."""
    owner = target.provider_model.provider.tenant_id
    if owner is None:
        return alias.tenant_id is None or target.is_legacy
    return owner == alias.tenant_id == caller.tenant_id
