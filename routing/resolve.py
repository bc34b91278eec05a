"""Resolve a model name to a Route, for one caller.

The look-up order is: an alias of the caller's tenant, an alias of the platform, then (where the tenant
allows it) `provider/model` or `provider@model`. A name that is unknown, disabled or not granted gives one
and the same 404, so that nobody learns what others have.

Prices are looked up under names that the operator gave, never under one that a tenant chose.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace

from django.db.models import F, Q, QuerySet

from gateway_project.lib.cache import LoadingCache, StoreUnavailable
from gateway_project.lib.db import in_database_thread
from gateway_project.lib.errors import ModelNotFound, Unavailable
from gateway_project.lib.keyring import KeyringError
from gateway_project.lib.sealing import SealError
from gateway_project.lib.secret import Secret
from routing import cache_policy, credentials
from routing.models import Alias, AliasGrant, Credential, Provider, ProviderModel
from routing.models import Target as TargetRow
from routing.route import Quirks, ResolvedTarget, Route
from tenants.keys.caller import Caller
from tenants.prices import book
from tenants.prices.history import FREE, History

logger = logging.getLogger("tollgate.routing")

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
        if not _can_be_a_name(model):
            raise model_not_found(model)
        key = (caller.tenant_id, caller.key_id, model)
        return self._routes.fresh(key) or await self._look_up(key, caller, model)

    def clear(self) -> None:
        self._routes.clear()

    async def _look_up(self, key: tuple[int, int, str], caller: Caller, model: str) -> Route:
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
    aliases = Alias.objects.filter(Q(tenant=caller.tenant_id) | Q(tenant=None), enabled=True)
    own_names = Alias.objects.filter(tenant=caller.tenant_id, enabled=True).values("name")
    aliases = aliases.exclude(Q(tenant=None) & Q(name__in=own_names))
    link = Q(platform_alias__tenant=None, platform_alias__enabled=True)
    if not caller.all_aliases:
        granted = AliasGrant.objects.filter(api_key=caller.key_id).values("alias")
        aliases = aliases.filter(pk__in=granted)
        link &= Q(platform_alias__in=granted)
    return aliases.filter(Q(platform_alias__isnull=True) | link).order_by("name")


def visible_alias(caller: Caller, name: str) -> Alias | None:
    """Return the alias of this name if the key may use it."""
    if not _can_be_a_name(name):
        return None
    return visible_aliases(caller).filter(name=name).select_related("platform_alias").first()


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


def _route_of_alias(alias: Alias, caller: Caller) -> Route:
    """Build the route of an alias. Both aliases of a link contribute."""
    source = alias.platform_alias or alias
    rows = (
        TargetRow.objects.filter(alias=source, provider_model__provider__enabled=True)
        .select_related("provider_model__provider")
        .order_by("position", "pk")
    )
    models = [row.provider_model for row in rows if _may_reach(source, row, caller)]
    native_only = Alias.ResponsesMode.NATIVE_ONLY
    stores = alias.store_by_default
    targets = _targets(models, caller, source if source.tenant_id is None else None)
    return Route(
        alias=source.name,
        native_only=native_only in {alias.responses_mode, source.responses_mode},
        drop_unsupported=alias.drop_unsupported or source.drop_unsupported,
        store_by_default=source.store_by_default if stores is None else stores,
        resumable_streams=alias.resumable_streams or source.resumable_streams,
        targets=targets,
        requested_model="" if alias.name == source.name else alias.name,
        cache=cache_policy.of_alias(alias, targets),
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
    return Route(
        alias=str(row),
        native_only=False,
        drop_unsupported=False,
        targets=_targets([row], caller, None),
        requested_model="" if model == str(row) else model,
    )


def _may_reach(alias: Alias, target: TargetRow, caller: Caller) -> bool:
    """Ignore rows written past our validation: only the operator decides what a tenant reaches."""
    owner = target.provider_model.provider.tenant_id
    if owner is None:
        return alias.tenant_id is None or target.is_legacy
    return owner == alias.tenant_id == caller.tenant_id


def _targets(
    models: list[ProviderModel], caller: Caller, alias: Alias | None
) -> tuple[ResolvedTarget, ...]:
    """Build the targets with their prices, in two queries however many they are.

    `alias` is the platform's that was asked for; None if the models were reached otherwise.
    """
    costs = book.costs((model.provider.name, model.upstream_id) for model in models)
    charges = _charges(models, caller, alias)
    return tuple(
        _with_prices(
            target_of(m, caller.tenant_id), m, costs[m.provider.name, m.upstream_id], charges[m.pk]
        )
        for m in models
    )


def _charges(
    models: list[ProviderModel], caller: Caller, alias: Alias | None
) -> dict[int, History]:
    """Read each model's charge from the charge book, under names that only the operator gives."""
    if alias is not None:
        return dict.fromkeys((m.pk for m in models), book.charge_book(caller.tenant_id, alias.name))
    names = {model.pk: _price_names(model) for model in models}
    books = book.charge_books(caller.tenant_id, {name for each in names.values() for name in each})
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


def _with_prices(
    target: ResolvedTarget, model: ProviderModel, cost: History, charges: History
) -> ResolvedTarget:
    """Attach prices. What the tenant pays the provider itself costs us nothing; a charge applies only if
    priced.
    """
    if target.owns_credential or model.provider.tenant_id is not None:
        # The operator says nothing of what a tenant's own provider lists.
        listed = cost if model.provider.tenant_id is None else None
        fee = book.charged_beside_own(charges)
        return replace(target, cost=FREE, charge=fee, list_price=listed)
    return replace(target, cost=cost, charge=book.charged(charges, cost))


def target_of(model: ProviderModel, tenant_id: int) -> ResolvedTarget:
    """Return a model as calls of this tenant reach it, without prices; 0 stands for the platform."""
    provider = model.provider
    credential = _credential(provider, tenant_id)
    wants_none = provider.auth_kind == Provider.AuthKind.NONE
    secret = None if wants_none or credential is None else _open_secret(credential)
    return ResolvedTarget(
        provider=provider.name,
        protocol=provider.protocol,
        base_url=provider.base_url.rstrip("/"),
        auth_kind=provider.auth_kind,
        secret=secret,
        owns_credential=secret is not None
        and credential is not None
        and credential.tenant_id is not None,
        missing_credential=not wants_none and secret is None,
        allow_private_network=provider.allow_private_network,
        quirks=Quirks.from_row(provider.quirks),
        model=model.upstream_id,
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        capabilities=frozenset(model.capabilities),
    )


def _open_secret(credential: Credential) -> Secret | None:
    """Return the secret; None if it cannot be opened, which makes the target unusable instead of unsafe."""
    try:
        return credentials.reveal(credential)
    except (KeyringError, SealError) as error:
        logger.error("credential %s cannot be opened: %s", credential.pk, error)
        return None


def _credential(provider: Provider, tenant_id: int) -> Credential | None:
    """Choose the tenant's own credential before the platform's, the newest first."""
    owners = Q(tenant=None)
    if provider.takes_credentials_of(tenant_id):
        owners |= Q(tenant=tenant_id)
    return (
        Credential.objects.select_related("provider")
        .filter(owners, provider=provider, enabled=True)
        .order_by(F("tenant").desc(nulls_last=True), "-created_at")
        .first()
    )
