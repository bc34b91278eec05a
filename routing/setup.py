"""Set up a provider in one go: its row, its credential, models and an alias for each, or nothing at all.

Before anything is saved it can be tried out: the upstream is asked for its models with what was typed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied, ValidationError

from gateway_project.lib.db import durable_transaction
from routing import provider_advice, testing
from routing.catalogue import NewProvider
from routing.managed import PROVIDERS
from routing.model_sync import NoModelList
from routing.models import Alias, Credential, Provider, ProviderModel, Target
from routing.side_calls import Reach
from routing.vendors import VENDORS, StarterModel, Vendor
from tenants import managed
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.models import Tenant

MAX_MODELS = 100


@dataclass(frozen=True, slots=True)
class ChosenModel:
    """A model to take over, and the alias that clients will call it by; blank: none."""

    upstream_id: str
    alias: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """Tells what came of asking an upstream for its models: their ids, or the reason why there are none."""

    ok: bool
    models: Sequence[str]
    status: int | None
    latency_ms: float
    error: str


@dataclass(frozen=True, slots=True)
class SetUp:
    """Names what a set-up has made."""

    provider: Provider
    models: Sequence[str]
    aliases: Sequence[str]


def try_out(who: Access, new: NewProvider) -> Trial:
    """Ask the upstream for its models; nothing is saved.

    Raise PermissionDenied, ValidationError for what could not be saved, or TooManyTests.
    """
    check(who, new)
    owner_id = None if new.tenant is None else new.tenant.pk
    allow_private = new.allow_private_network
    reach = Reach(new.protocol, new.base_url, new.auth_kind, new.secret, allow_private)
    try:
        listed = testing.try_reach(new.tenant, reach)
    except NoModelList as none:
        told = testing.explain(none, owner_id)
        return Trial(False, (), none.status, none.latency_ms, told)
    return Trial(True, listed.ids, 200, listed.latency_ms, "")


def check(who: Access, new: NewProvider) -> None:
    """Raise PermissionDenied, or ValidationError that names the fields, for what could not be saved."""
    owner_id = None if new.tenant is None else new.tenant.pk
    if not who.may("add", Area.PROVIDERS, owner_id):
        raise PermissionDenied
    if new.secret is not None and not who.may("add", Area.CREDENTIALS, owner_id):
        raise PermissionDenied
    row = _row(new)
    if new.allow_private_network and "allow_private_network" in PROVIDERS.reserved(who, row):
        told = "Only an operator may allow a private network."
        raise ValidationError({"allow_private_network": told})
    PROVIDERS.validate(row)


def warnings(who: Access, new: NewProvider) -> list[str]:
    """Return a sentence for each thing that would keep the provider from answering.

    What only the operator can change is left out for others; trying it out tells them.
    """
    may_allow = "allow_private_network" not in PROVIDERS.reserved(who, _row(new))
    return provider_advice.on_a_page(new, may_allow_private=may_allow)


def save(who: Access, new: NewProvider, chosen: Sequence[ChosenModel]) -> SetUp:
    """Make everything in one transaction. Raise PermissionDenied, or ValidationError that names fields."""
    _refuse_repeated(chosen)
    with durable_transaction():
        check(who, new)
        provider = managed.create(who, Provider, _columns(new)).row
        if new.secret is not None:
            values = {"tenant": new.tenant, "provider": provider, "secret": new.secret}
            managed.create(who, Credential, {**values, "name": "default"})
        known = {each.id: each for each in starter_models(new.vendor)}
        for model in chosen:
            _save_model(who, provider, model, known.get(model.upstream_id))
    aliases = [model.alias for model in chosen if model.alias]
    return SetUp(provider, [model.upstream_id for model in chosen], aliases)


def vendor_named(name: str) -> Vendor | None:
    """Return the known vendor of this name."""
    return next((vendor for vendor in VENDORS if vendor.name == name), None)


def starter_models(vendor: str) -> tuple[StarterModel, ...]:
    """Return the models of a known vendor to begin with."""
    known = vendor_named(vendor)
    return () if known is None else known.models


def suggestions(
    tenant: Tenant | None, vendor: str, upstream_ids: Iterable[str]
) -> Iterator[ChosenModel]:
    """Suggest an alias for each model: a vendor's usual one, or the model's id; none that is taken."""
    usual = {each.id: each.alias_name for each in starter_models(vendor)}
    taken = set(Alias.objects.filter(tenant=tenant).values_list("name", flat=True))
    for upstream_id in upstream_ids:
        name = usual.get(upstream_id, upstream_id)
        yield ChosenModel(upstream_id, "" if name in taken else name)


def _row(new: NewProvider) -> Provider:
    return Provider(**_columns(new))


def _columns(new: NewProvider) -> dict[str, Any]:
    return {
        "tenant": new.tenant,
        "name": new.name,
        "vendor": new.vendor,
        "protocol": new.protocol,
        "base_url": new.base_url,
        "auth_kind": new.auth_kind,
        "quirks": new.quirks,
        **({"allow_private_network": True} if new.allow_private_network else {}),
    }


def _refuse_repeated(chosen: Sequence[ChosenModel]) -> None:
    if len(chosen) > MAX_MODELS:
        told = f"Choose at most {MAX_MODELS} models at once; 'Update models' adds further ones."
        raise ValidationError({"models": told})
    for names in (
        [model.upstream_id for model in chosen],
        [model.alias for model in chosen if model.alias],
    ):
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise ValidationError({"models": f"{repeated!r} is named twice."})


def _save_model(
    who: Access, provider: Provider, chosen: ChosenModel, known: StarterModel | None
) -> None:
    facts: dict[str, Any] = {}
    if known is not None:
        facts = {
            "context_window": known.context_window,
            "max_output_tokens": known.max_output_tokens,
            "capabilities": sorted(known.capabilities),
        }
    values = {"provider": provider, "upstream_id": chosen.upstream_id, **facts}
    try:
        model = managed.create(who, ProviderModel, values).row
        if chosen.alias:
            owner = {"tenant": provider.tenant, "name": chosen.alias}
            alias = managed.create(who, Alias, owner).row
            managed.create(who, Target, {"alias": alias, "provider_model": model, "position": 0})
    except ValidationError as error:
        raise ValidationError({"models": _sentences(chosen, error)}) from error


def _sentences(chosen: ChosenModel, error: ValidationError) -> list[str]:
    """Return what is wrong with a model, or with its alias, each sentence with the name it is about."""
    if not hasattr(error, "error_dict"):
        return [f"{chosen.alias or chosen.upstream_id}: {each}" for each in error.messages]
    told = []
    for field, sentences in error.message_dict.items():
        of_alias = field in {"name", NON_FIELD_ERRORS} and chosen.alias
        subject = chosen.alias if of_alias else chosen.upstream_id
        told += [f"{subject}: {each}" for each in sentences]
    return told
