"""Rows a test needs, made through the same functions the product uses; each function in one transaction.

A provider or an alias replaces one of the same name, so that the cases of a test need no names of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import transaction

from gateway_project.lib.secret import Secret
from routing import credentials
from routing.models import Alias, Provider, ProviderModel, Target
from tenants.keys import keys
from tenants.models import ApiKey, Tenant

PROTOCOLS = ("chat", "responses", "anthropic")


@dataclass(frozen=True, slots=True)
class Customer:
    """A tenant with one key; `secret` is the key's text."""

    tenant: Tenant
    key: ApiKey
    secret: str

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.secret}"}


@transaction.atomic
def customer(slug: str = "acme", **tenant_fields: object) -> Customer:
    tenant = Tenant.objects.create(slug=slug, name=slug.title(), **tenant_fields)
    key, secret = keys.create(tenant, "test")
    return Customer(tenant, key, secret.reveal())


@transaction.atomic
def provider(
    protocol: str, base_url: str, name: str = "", secret: str = "", **fields: Any
) -> Provider:
    """A provider on this machine; without a secret it wants none."""
    fields.setdefault("allow_private_network", True)
    fields.setdefault("auth_kind", "bearer" if secret else "none")
    name = name or f"sandbox-{protocol}"
    for former in Provider.objects.filter(name=name, tenant=fields.get("tenant")):
        Target.objects.filter(provider_model__provider=former).delete()
        former.delete()
    row = Provider.objects.create(name=name, protocol=protocol, base_url=base_url, **fields)
    if secret:
        credentials.create(row, Secret(secret), tenant=row.tenant)
    return row


@transaction.atomic
def alias(name: str, *targets: tuple[Provider, str], **fields: Any) -> Alias:
    """An alias over (provider, upstream model) pairs, in order of preference. It waits for no lane."""
    fields.setdefault("wait_seconds", 0)
    Alias.objects.filter(name=name, tenant=fields.get("tenant")).delete()
    row = Alias.objects.create(name=name, **fields)
    for position, (of, upstream_id) in enumerate(targets):
        model, _ = ProviderModel.objects.get_or_create(provider=of, upstream_id=upstream_id)
        Target.objects.create(alias=row, provider_model=model, position=position)
    return row


@transaction.atomic
def sandbox_aliases(base_url: str) -> None:
    """`sandbox-chat`, `sandbox-responses` and `sandbox-anthropic` for everybody.

    Almost every test has them: where they are new they are written together, which takes a fifth of the time.
    """
    names = [f"sandbox-{protocol}" for protocol in PROTOCOLS]
    if Provider.objects.filter(name__in=names).exists():
        for protocol, name in zip(PROTOCOLS, names, strict=True):
            alias(name, (provider(protocol, base_url), "sandbox-1"))
        return
    local = {"base_url": base_url, "allow_private_network": True, "auth_kind": "none"}
    providers = Provider.objects.bulk_create(
        Provider(name=name, protocol=protocol, **local)
        for protocol, name in zip(PROTOCOLS, names, strict=True)
    )
    models = ProviderModel.objects.bulk_create(
        ProviderModel(provider=of, upstream_id="sandbox-1") for of in providers
    )
    aliases = Alias.objects.bulk_create(Alias(name=name, wait_seconds=0) for name in names)
    Target.objects.bulk_create(
        Target(alias=row, provider_model=model, position=0)
        for row, model in zip(aliases, models, strict=True)
    )
