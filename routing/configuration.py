"""Declare what a file can say about providers, their models and credentials, aliases, and keys."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from gateway_project.lib.keyring import KeyringError
from gateway_project.lib.sealing import SealError
from gateway_project.lib.secret import Secret
from routing import credentials, provider_options, target_entries
from routing.models import Alias, AliasGrant, Credential, Provider, ProviderModel, Target
from routing.target_entries import TargetEntry
from tenants import managed
from tenants.configuration.fields import (
    ConfigurationField,
    InstantField,
    NamedField,
    NameField,
    SecretReferenceField,
    SetField,
    find_key,
    text,
    texts,
)
from tenants.configuration.kinds import ConfigurationKind, Identity, Normal, register
from tenants.configuration.section import FileSection
from tenants.models import ApiKey, UsageRow


class ProviderKind(ConfigurationKind):
    section = "providers"
    order = 20
    model = Provider
    identity = (NameField("name"),)
    fields = (
        ConfigurationField("vendor"),
        ConfigurationField("protocol"),
        ConfigurationField("base_url"),
        ConfigurationField("auth_kind", is_written=True),
        ConfigurationField("quirks"),
        ConfigurationField("allow_private_network"),
        ConfigurationField("allow_tenant_credentials"),
        ConfigurationField("forward_trace_context"),
        ConfigurationField("limits"),
        ConfigurationField("enabled"),
    )

    def complete(self, values: Normal) -> Normal:
        auth_kind = provider_options.usual_auth(str(values.get("protocol")))
        return {"auth_kind": str(auth_kind), **values}


class ModelKind(ConfigurationKind):
    section = "models"
    order = 30
    model = ProviderModel
    identity = (
        NamedField("provider", model=Provider, is_needed=True),
        NameField("name", "upstream_id"),
    )
    fields = (
        ConfigurationField("context_window"),
        ConfigurationField("max_output_tokens"),
        ConfigurationField("capabilities"),
    )

    def rows(self, scope: FileSection) -> QuerySet[Any]:
        rows = scope.visible(ProviderModel).filter(provider__tenant=scope.tenant_id)
        return rows.select_related("provider").order_by("provider__name", "upstream_id")

    def home(self, scope: FileSection) -> dict[str, Any]:
        return {}


def _is_as_stored(secret: Secret, row: Credential) -> bool:
    """Tell whether this secret is the row's, and sealed for where its provider is now."""
    try:
        stored = credentials.reveal(row).reveal()
    except (SealError, KeyringError):
        return False
    return hmac.compare_digest(stored.encode(), secret.reveal().encode())


class CredentialKind(ConfigurationKind):
    section = "credentials"
    order = 40
    model = Credential
    identity = (
        NamedField("provider", model=Provider, is_needed=True),
        ConfigurationField("name"),
    )
    fields = (
        SecretReferenceField("secret", is_as_stored=_is_as_stored, is_written=True),
        ConfigurationField("weight"),
        ConfigurationField("enabled"),
    )

    def rows(self, scope: FileSection) -> QuerySet[Any]:
        return (
            super().rows(scope).select_related("provider").order_by("provider__name", "name", "pk")
        )

    def warnings(self, values: Normal, row: Any) -> list[str]:
        given = values.get("secret")
        if given is None or given.secret is not None:
            return []
        return [f"the secret is left as it is: {given.problem}."]

    def reference(self, row: Any) -> str:
        owner = f"{row.tenant.slug}_" if row.tenant is not None else ""
        return f"{owner}{row.provider.name}_{row.name}"


@dataclass(frozen=True, slots=True)
class LinkField(ConfigurationField):
    """The alias of the platform that a tenant's alias is another name for."""

    def read(self, value: Any, scope: FileSection) -> str | None:
        return None if value is None else str(self._row(value).name)

    def show(self, row: Any, scope: FileSection) -> str | None:
        return None if row.platform_alias is None else str(row.platform_alias.name)

    def store(self, value: Any, scope: FileSection) -> dict[str, Any]:
        return {self.target: None if value is None else self._row(value)}

    def _row(self, value: Any) -> Alias:
        found = Alias.objects.filter(tenant=None, name=text(value)).first()
        if found is None:
            raise ValidationError(f"The platform has no alias {value[:100]!r}.")
        return found


@dataclass(frozen=True, slots=True)
class TargetsField(ConfigurationField):
    """The models behind an alias, in tiers. Written by AliasKind (routing/target_entries.py)."""

    def read(self, value: Any, scope: FileSection) -> list[Any]:
        entries = target_entries.read(value)
        models = find_models([each.model for each in entries], scope)
        if len({each.pk for each in models}) < len(models):
            raise ValidationError("A model stands here twice.")
        named = (
            replace(entry, model=_model_name(model, scope))
            for entry, model in zip(entries, models, strict=True)
        )
        return target_entries.normal(named)

    def show(self, row: Any, scope: FileSection) -> list[Any]:
        shown = _targets(row)
        if not scope.who.sees_upstreams_of(
            scope.tenant_id
        ):  # of old, it may lead to the platform's
            shown = [each for each in shown if each.provider_model.provider.tenant_id is not None]
        return target_entries.normal(
            TargetEntry(
                _model_name(each.provider_model, scope),
                each.position,
                each.weight,
                each.when,
                is_enabled=each.enabled,
            )
            for each in shown
        )

    def store(self, value: Any, scope: FileSection) -> dict[str, Any]:
        return {}

    def usual(self, model: Any) -> list[Any]:
        return []


def _targets(alias: Alias) -> list[Target]:
    """Return an alias's targets in the order in which they are tried."""
    return list(alias.targets.select_related("provider_model__provider").order_by("position", "pk"))


def _model_name(model: ProviderModel, scope: FileSection) -> str:
    return f"{scope.name_of(model.provider)}/{model.upstream_id}"


def find_models(names: Iterable[str], scope: FileSection) -> list[ProviderModel]:
    """Return the models of these names. Raise ValidationError."""
    found = []
    for each in names:
        provider, slash, model = each.partition("/")
        if not slash:
            raise ValidationError(f"{each[:100]!r} is not of the form provider/model.")
        rows = ProviderModel.objects.filter(provider=scope.named(Provider, provider))
        row = rows.select_related("provider").filter(upstream_id=model).first()
        if row is None:
            message = f"{provider!r} has no model {model[:100]!r}: add it to the section 'models'."
            raise ValidationError(message)
        found.append(row)
    return found


class AliasKind(ConfigurationKind):
    section = "aliases"
    order = 50
    model = Alias
    identity = (NameField("name"),)
    fields = (
        LinkField("link", "platform_alias"),
        TargetsField("targets"),
        ConfigurationField("responses_mode"),
        ConfigurationField("drop_unsupported"),
        ConfigurationField("store_by_default"),
        ConfigurationField("resumable_streams"),
        ConfigurationField("strategy"),
        ConfigurationField("affinity"),
        ConfigurationField("affinity_seconds"),
        ConfigurationField("max_attempts"),
        ConfigurationField("wait_seconds"),
        SetField("fall_back_on"),
        ConfigurationField("cache_seconds"),
        ConfigurationField("cache_scope"),
        ConfigurationField("cache_any_temperature"),
        ConfigurationField("cache_charge_percent"),
        ConfigurationField("enabled"),
    )

    def rows(self, scope: FileSection) -> QuerySet[Any]:
        return super().rows(scope).select_related("platform_alias").order_by("name")

    def create(self, scope: FileSection, values: Normal) -> tuple[Any, Secret | None]:
        row, secret = super().create(scope, values)
        _add_targets(scope, row, values.get("targets", []))
        return row, secret

    def change(self, scope: FileSection, row: Any, values: Normal) -> None:
        # A link has none: they go before it comes, and come after it goes.
        entries = target_entries.read(values.get("targets", []))
        wanted = {each.pk for each in find_models([entry.model for entry in entries], scope)}
        for target in _targets(row) if "targets" in values else ():
            if target.provider_model_id not in wanted:
                managed.remove(scope.who, target)
        super().change(scope, row, values)
        if "targets" in values:
            _add_targets(scope, row, values["targets"])

    def notes(self, scope: FileSection) -> list[str]:
        rows = Alias.objects.filter(tenant=scope.tenant_id, targets__is_legacy=True)
        return [
            f"{name} leads to models of the platform and predates links; an empty database refuses it."
            for name in rows.order_by("name").values_list("name", flat=True).distinct()
        ]


def _add_targets(scope: FileSection, alias: Alias, normal: list[Any]) -> None:
    """Let the alias lead to these models, in these tiers."""
    present = {each.provider_model_id: each for each in _targets(alias)}
    entries = target_entries.read(normal)
    models = find_models([entry.model for entry in entries], scope)
    for entry, model in zip(entries, models, strict=True):
        given = {
            "position": entry.tier,
            "weight": entry.weight,
            "enabled": entry.is_enabled,
            "when": entry.when,
        }
        if model.pk in present:
            managed.change(scope.who, present[model.pk], given)
        else:
            managed.create(scope.who, Target, {"alias": alias, "provider_model": model, **given})


ALL = "all"


@dataclass(frozen=True, slots=True)
class GrantsField(ConfigurationField):
    """The aliases a key may use: `all`, or a list. With a link goes the alias it leads to. Written by
    KeyKind."""

    def read(self, value: Any, scope: FileSection) -> str | list[str]:
        if value == ALL:
            return ALL
        if not isinstance(value, list):
            raise ValidationError("Write all, or a list of aliases.")
        return sorted(scope.name_of(each) for each in find_aliases(value, scope))

    def show(self, row: Any, scope: FileSection) -> str | list[str]:
        if row.all_aliases:
            return ALL
        return sorted(scope.name_of(each.alias) for each in _grants(row))

    def store(self, value: Any, scope: FileSection) -> dict[str, Any]:
        return {"all_aliases": value == ALL}

    def usual(self, model: Any) -> str:
        return ALL


def find_aliases(names: Any, scope: FileSection) -> list[Alias]:
    """Return the aliases of these names, and those that links among them lead to. Raise ValidationError."""
    found: dict[int, Alias] = {}
    for name in texts(names):
        alias = scope.named(Alias, name)
        found[alias.pk] = alias
        if alias.platform_alias is not None:
            found[alias.platform_alias.pk] = alias.platform_alias
    return list(found.values())


def _grants(key: ApiKey) -> list[AliasGrant]:
    """Return a key's grants, of links before what they lead to."""
    rows = AliasGrant.objects.filter(api_key=key).select_related("alias")
    return sorted(rows, key=lambda each: each.alias.platform_alias_id is None)


class KeyKind(ConfigurationKind):
    """Keys, without their secrets. One that is revoked is no object of a file any more."""

    section = "keys"
    order = 55
    model = ApiKey
    on_platform = False
    identity = (NameField("name"),)
    fields = (
        ConfigurationField("scopes"),
        GrantsField("aliases", "all_aliases"),
        ConfigurationField("allowed_networks"),
        InstantField("expires_at"),
    )

    def rows(self, scope: FileSection) -> QuerySet[Any]:
        return super().rows(scope).filter(revoked_at=None)

    def check_missing(self, identity: Identity, scope: FileSection) -> None:
        if scope.visible(ApiKey).filter(tenant=scope.tenant_id, name=identity[0]).exists():
            find_key(identity[0], scope)

    def create(self, scope: FileSection, values: Normal) -> tuple[Any, Secret | None]:
        row, secret = super().create(scope, values)
        _set_grants(scope, row, values.get("aliases", ALL))
        return row, secret

    def change(self, scope: FileSection, row: Any, values: Normal) -> None:
        super().change(scope, row, values)
        _set_grants(scope, row, values.get("aliases", ALL))

    def notes(self, scope: FileSection) -> list[str]:
        revoked = scope.visible(ApiKey).filter(tenant=scope.tenant_id, revoked_at__isnull=False)
        return [f"{count} revoked are left out."] if (count := revoked.count()) else []

    def reason_to_keep(self, row: Any) -> str:
        has_usage = row.last_used_at is not None or _has_usage(row)
        return "it was used; end it with revoke_key" if has_usage else ""


def _has_usage(key: ApiKey) -> bool:
    return UsageRow.objects.filter(key_public_id=key.public_id).exists()


def _set_grants(scope: FileSection, key: ApiKey, names: Any) -> None:
    """Let the key use these aliases and no others; where it may use all, its grants mean nothing."""
    if names == ALL:
        return
    wanted = {each.pk: each for each in find_aliases(names, scope)}
    for grant in _grants(key):
        if wanted.pop(grant.alias_id, None) is None:
            managed.remove(scope.who, grant)
    for alias in wanted.values():
        if not AliasGrant.objects.filter(api_key=key, alias=alias).exists():
            managed.create(scope.who, AliasGrant, {"api_key": key, "alias": alias})


PROVIDERS = register(ProviderKind())
MODELS = register(ModelKind())
CREDENTIALS = register(CredentialKind())
ALIASES = register(AliasKind())
KEYS = register(KeyKind())
