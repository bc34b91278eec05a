"""Create the first rows: the sandbox, and a provider for each vendor whose key is in the environment.

An existing provider is left as it is, with its models and aliases, so that what an operator changed or
deleted stays so. Only its credential named `environment` follows the variable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from django.db import transaction

from gateway_project.lib import clock
from gateway_project.lib.env import Env
from gateway_project.lib.keyring import KeyringError
from gateway_project.lib.sealing import SealError
from gateway_project.lib.secret import Secret
from routing import credentials
from routing.models import Alias, Credential, Provider, ProviderModel, Target
from routing.protocols import PROTOCOLS
from routing.vendors import TEXT, VENDORS, StarterModel, Vendor
from tenants.prices import dollars, publishing
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line

CREDENTIAL_NAME = "environment"
SANDBOX = "sandbox"

SANDBOX_PRICES = (Line("input_fresh", dollars.pico("1")), Line("output_visible", dollars.pico("4")))

_OUR_SANDBOX_URL = re.compile(r"http://127\.0\.0\.1:\d+/v1\Z")


def seed_from_environment(environ: Mapping[str, str]) -> list[str]:
    """Set up every vendor whose key is set, and return the names of the providers that changed.

    Raise SettingError when a variable is unusable. `<NAME>_FILE` works as for every secret.
    """
    env = Env(environ)
    found = [(vendor, env.secret(vendor.variable)) for vendor in VENDORS]
    return [v.name for v, secret in found if secret is not None and _seed_vendor(v, secret)]


def seed_sandbox(port: int) -> list[str]:
    """Create the sandbox's providers, or move them to another port, and return the names of those that
    changed.
    """
    base_url = f"http://127.0.0.1:{port}/v1"
    return [name for p in PROTOCOLS if _seed_sandbox(name := f"{SANDBOX}-{p}", p, base_url)]


@transaction.atomic
def _seed_vendor(vendor: Vendor, secret: Secret) -> bool:
    provider = Provider.objects.filter(tenant=None, name=vendor.name).first()
    if provider is None:
        provider = Provider(
            name=vendor.name,
            vendor=vendor.name,
            protocol=vendor.protocol,
            base_url=vendor.base_url,
            auth_kind=vendor.auth_kind,
            quirks=dict(vendor.quirks),
        )
        _add(provider, vendor.models)
        credentials.create(provider, secret, name=CREDENTIAL_NAME)
        return True
    # A row somebody else made under this name may lead anywhere; it does not get the vendor's key.
    return provider.vendor == vendor.name and _follow(provider, secret)


def _follow(provider: Provider, secret: Secret) -> bool:
    """Make the credential that came from the environment hold the current value."""
    known = Credential.objects.filter(provider=provider, tenant=None, name=CREDENTIAL_NAME)
    credential = known.first()
    if credential is None:
        credentials.create(provider, secret, name=CREDENTIAL_NAME)
        return True
    if _holds(credential, secret):
        return False
    credentials.set_secret(credential, secret)
    credential.save(update_fields=["host", "sealed_secret", "last_four"])
    return True


def _holds(credential: Credential, secret: Secret) -> bool:
    try:
        return credentials.reveal(credential) == secret
    except (KeyringError, SealError):  # its key is lost, but the environment still knows the secret
        return False


@transaction.atomic
def _seed_sandbox(name: str, protocol: str, base_url: str) -> bool:
    provider = Provider.objects.filter(tenant=None, name=name).first()
    if provider is not None:
        return _move(provider, base_url)
    provider = Provider(
        name=name,
        vendor=SANDBOX,
        protocol=protocol,
        base_url=base_url,
        auth_kind=Provider.AuthKind.NONE,
        allow_private_network=True,
    )
    model = StarterModel(
        "sandbox-1", 128_000, ("reasoning", *TEXT), alias=name, max_output_tokens=4096
    )
    _add(provider, (model,))
    _price_sandbox(name, model.id)
    return True


def _price_sandbox(provider: str, model: str) -> None:
    """Publish made-up prices, so that a fresh installation shows money; published ones stay."""
    subject = Subject.cost(provider, model)
    if not publishing.published(subject):
        publishing.set_price(subject, SANDBOX_PRICES, "quickstart", clock.now(), "pretended")


def _move(provider: Provider, base_url: str) -> bool:
    """Follow TOLLGATE_SANDBOX_PORT, unless somebody pointed the row elsewhere."""
    is_ours = provider.vendor == SANDBOX and _OUR_SANDBOX_URL.match(provider.base_url)
    if not is_ours or provider.base_url == base_url:
        return False
    provider.base_url = base_url
    provider.save(update_fields=["base_url"])
    return True


def _add(provider: Provider, models: tuple[StarterModel, ...]) -> None:
    provider.full_clean()
    provider.save()
    for model in models:
        _add_model(provider, model)


def _add_model(provider: Provider, model: StarterModel) -> None:
    row = ProviderModel(
        provider=provider,
        upstream_id=model.id,
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        capabilities=sorted(model.capabilities),
    )
    row.full_clean()
    row.save()
    alias, is_new = Alias.objects.get_or_create(tenant=None, name=model.alias_name)
    if is_new:  # an alias that was there keeps its targets
        Target.objects.create(alias=alias, provider_model=row)
