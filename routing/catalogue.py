"""Create providers and aliases by name; wrong input is a ValidationError that names the field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Q

from gateway_project.lib.secret import Secret
from routing import credentials
from routing.models import (
    Alias,
    Provider,
    ProviderModel,
    Target,
)
from routing.protocols import PROTOCOLS
from tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class NewProvider:
    """The arguments of `add_provider`."""

    name: str
    protocol: str
    base_url: str
    auth_kind: str = "bearer"
    quirks: dict[str, Any] = field(default_factory=dict)
    allow_private_network: bool = False
    forward_trace_context: bool = False
    secret: Secret | None = None
    tenant: Tenant | None = None
    vendor: str = ""

    def in_words(self) -> str:
        """Describe what was made."""
        made = f"Provider {self.name!r} ({self.protocol}, {self.base_url}) was added"
        if self.secret is not None:
            return f"{made}, with its credential."
        if self.auth_kind == Provider.AuthKind.NONE:
            return f"{made}; it needs no credential."
        return f"{made}."


@dataclass(frozen=True, slots=True)
class NewAlias:
    """The arguments of `add_alias`; `targets` are `provider/model`, the preferred one first.

    A tenant's alias may have a `link` instead: the name of an alias of the platform.
    """

    name: str
    targets: Sequence[str] = ()
    link: str | None = None
    native_only: bool = False
    drop_unsupported: bool = False
    store_by_default: bool | None = None
    resumable_streams: bool = False
    tenant: Tenant | None = None


# Whether an alias's responses are kept when the request does not say.
# As `set_alias` has them, and the words of before.
STORE_CHOICES: dict[str, bool | None] = {
    "true": True,
    "false": False,
    "none": None,
    "yes": True,
    "no": False,
    "tenant": None,
}


@dataclass(frozen=True, slots=True)
class SavedAlias:
    """The outcome of `add_alias`: what the alias led to before (None: it is new) and the models made for
    it.
    """

    alias: Alias
    replaced: list[str] | None
    new_models: list[str]

    def in_words(self) -> str:
        """Describe what the alias leads to now, and what it led to before."""
        text = f"Alias {self.alias.name!r} now leads to {', '.join(leads_to(self.alias))}."
        if self.replaced is not None:
            text += f" It existed; its targets before were {', '.join(self.replaced) or 'none'}."
        if self.new_models:
            text += f" New models: {', '.join(self.new_models)}."
        return text


@transaction.atomic
def add_provider(new: NewProvider) -> Provider:
    """Create a provider, with its credential if a secret is given."""
    _check_choice("protocol", new.protocol, list(PROTOCOLS))
    _check_choice("auth", new.auth_kind, Provider.AuthKind.values)
    if Provider.objects.filter(tenant=new.tenant, name=new.name).exists():
        message = f"Provider {new.name!r} already exists; choose another name."
        raise ValidationError({"name": message})
    provider = Provider(
        name=new.name,
        vendor=new.vendor,
        protocol=new.protocol,
        base_url=new.base_url,
        auth_kind=new.auth_kind,
        quirks=new.quirks,
        allow_private_network=new.allow_private_network,
        forward_trace_context=new.forward_trace_context,
        tenant=new.tenant,
    )
    provider.full_clean()
    provider.save()
    if new.secret is not None:
        credentials.create(provider, new.secret, tenant=new.tenant)
    return provider


@transaction.atomic
def save_alias(new: NewAlias) -> SavedAlias:
    """Create an alias, or replace the targets and modes of the existing one."""
    if bool(new.targets) == bool(new.link):
        raise ValidationError(
            {"target": "Give at least one, as provider/model, or the platform's alias to link to."}
        )
    alias = Alias.objects.filter(tenant=new.tenant, name=new.name).first()
    replaced = leads_to(alias) if alias is not None else None
    alias = alias or Alias(tenant=new.tenant, name=new.name)
    alias.platform_alias = _find_link(new)
    modes = Alias.ResponsesMode
    alias.responses_mode = modes.NATIVE_ONLY if new.native_only else modes.AUTO
    alias.drop_unsupported = new.drop_unsupported
    alias.store_by_default = new.store_by_default
    alias.resumable_streams = new.resumable_streams
    alias.enabled = True
    alias.full_clean()
    alias.save()
    return SavedAlias(alias, replaced, _replace_targets(alias, new.targets))


def _find_link(new: NewAlias) -> Alias | None:
    if new.link is None:
        return None
    if new.tenant is None:
        raise ValidationError({"link": "Only an alias of a tenant can be a link; name the tenant."})
    found = Alias.objects.filter(tenant=None, name=new.link).first()
    if found is None:
        raise ValidationError({"link": f"The platform has no alias {new.link!r}."})
    return found


def leads_to(alias: Alias) -> list[str]:
    """Return the platform's alias it links to, or its targets as `provider/model`, in order."""
    if alias.platform_alias is not None:
        return [alias.platform_alias.name]
    rows = alias.targets.select_related("provider_model__provider").order_by("position", "pk")
    return [str(row.provider_model) for row in rows]


def provider_named(name: str, tenant: Tenant | None, where: str = "provider") -> Provider:
    """Return the tenant's provider of this name, else the platform's. Errors name the field `where`."""
    found = (
        Provider.objects.filter(Q(tenant=tenant) | Q(tenant=None), name=name)
        .order_by(F("tenant").desc(nulls_last=True))
        .first()
    )
    if found is None:
        names = Provider.objects.filter(Q(tenant=tenant) | Q(tenant=None)).values_list(
            "name", flat=True
        )
        known = ", ".join(sorted(set(names))[:20]) or "none yet"
        raise ValidationError(
            {
                where: f"There is no provider {name!r}. Known providers: {known}. Add one with add_provider."
            }
        )
    return found


def alias_named(name: str, tenant: Tenant | None, where: str = "alias") -> Alias:
    """Return the tenant's alias of this name, else the platform's. Errors name the field `where`."""
    found = (
        Alias.objects.filter(Q(tenant=tenant) | Q(tenant=None), name=name)
        .order_by(F("tenant").desc(nulls_last=True))
        .first()
    )
    if found is None:
        raise ValidationError({where: f"There is no alias {name!r}; add it with add_alias."})
    return found


def _replace_targets(alias: Alias, names: Sequence[str]) -> list[str]:
    models = [_model(name, alias) for name in names]
    if len({model.pk for model, _ in models}) < len(models):
        raise ValidationError({"target": "The same target is named twice."})
    alias.targets.all().delete()
    for position, (model, _) in enumerate(models):
        target = Target(alias=alias, provider_model=model, position=position)
        target.full_clean()
        target.save()
    return [name for name, (_, is_new) in zip(names, models, strict=True) if is_new]


def _model(name: str, alias: Alias) -> tuple[ProviderModel, bool]:
    provider_name, slash, upstream_id = name.partition("/")
    if not (slash and provider_name and upstream_id):
        raise ValidationError({"target": f"{name!r} is not of the form provider/model."})
    owner = provider_named(provider_name, alias.tenant, "target")
    known = ProviderModel.objects.filter(provider=owner, upstream_id=upstream_id).first()
    if known is not None:
        return known, False
    model = ProviderModel(provider=owner, upstream_id=upstream_id)
    model.full_clean()
    model.save()
    return model, True


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValidationError({name: f"{value!r} is not one of {', '.join(choices)}."})
