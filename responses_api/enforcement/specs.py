"""Read which guardrails apply to a call, and how those outside are reached."""

from __future__ import annotations

import logging
from functools import partial

from django.db.models import Q
from msgspec import Struct

from gateway_project.lib.keyring import KeyringError
from gateway_project.lib.prepared import PreparedQuery
from gateway_project.lib.sealing import SealError
from gateway_project.lib.secret import Secret
from responses_api.enforcement import secrets
from responses_api.enforcement.external import litellm, moderation, webhook
from responses_api.enforcement.external.config import (
    ModerationConfig,
    WebhookConfig,
    read_config,
)
from responses_api.enforcement.external.protocol import Endpoint
from responses_api.guardrails.spec import GuardrailSpec
from responses_api.models import Guardrail
from routing import credentials
from routing.models import Alias, Credential, Provider
from routing.protocols import PROTOCOLS
from routing.resolve import visible_alias
from routing.route import Quirks, ResolvedTarget
from tenants.keys.caller import Caller

logger = logging.getLogger("tollgate.guardrails")

# A check of its own has an address and no protocol; nothing here asks which it is.
_ANY_PROTOCOL = next(iter(PROTOCOLS))


class AppliedGuardrail(Struct, frozen=True):
    """A guardrail that applies to a call. `endpoint` is how an external one is reached; None if it cannot
    be, which counts as a failure of it."""

    spec: GuardrailSpec
    is_platforms: bool
    endpoint: Endpoint | None = None


def is_any() -> bool:
    """Return whether there is any guardrail that is enabled."""
    return Guardrail.objects.filter(enabled=True).exists()


def find(caller: Caller, model: str) -> tuple[AppliedGuardrail, ...]:
    """Return the guardrails that apply to calls of this key for this model: the platform's, the tenant's,
    and those of either that name the alias or the key. A lower level adds, and never removes."""
    aliases = _aliases(visible_alias(caller, model))
    return tuple(map(applied, _APPLIED.rows(caller.tenant_id, aliases, caller.key_id)))


_APPLIED = PreparedQuery(
    lambda tenant, aliases, key: (
        Guardrail.objects.filter(
            Q(tenant=None) | Q(tenant=tenant),
            Q(alias=None) | Q(alias__in=aliases),
            Q(api_key=None) | Q(api_key=key),
            enabled=True,
        )
        .select_related("provider")
        .order_by("pk")
    )
)


def _aliases(alias: Alias | None) -> tuple[int, ...]:
    """Return the numbers of an alias and of the one it links to."""
    found = () if alias is None else (alias.pk, alias.platform_alias_id)
    return tuple(each for each in found if each is not None)


def applied(row: Guardrail) -> AppliedGuardrail:
    """Return a row as calls work with it."""
    endpoint = _endpoint(row) if row.is_external else None
    return AppliedGuardrail(spec_of(row), row.tenant_id is None, endpoint)


def spec_of(row: Guardrail) -> GuardrailSpec:
    """Return a row as the engine works with it."""
    return GuardrailSpec(
        id=row.pk or 0,
        name=row.name,
        revision=row.revision,
        kind=row.kind,  # type: ignore[arg-type]  # one of its choices
        action=row.action,  # type: ignore[arg-type]
        stages=frozenset(row.stages),
        config=row.config,
        reversible=row.reversible,
        on_failure=row.on_failure,  # type: ignore[arg-type]
        timeout_ms=row.timeout_ms,
        parallel=row.parallel,
    )


def _endpoint(row: Guardrail) -> Endpoint | None:
    """Return how an external check is reached; None if its secret or its configuration cannot be used."""
    try:
        config = read_config(row.kind, row.config)
        secret = secrets.reveal(row)
        if isinstance(config, ModerationConfig):
            return _moderation(row, config, secret)
        return _webhook(row, config, secret)
    except (SealError, KeyringError, ValueError) as error:
        logger.error("the guardrail %r cannot be asked: %s", row.name, error)
        return None


def _moderation(row: Guardrail, config: ModerationConfig, secret: Secret | None) -> Endpoint | None:
    if row.provider is None:
        target, path = _own_target(row, "bearer", secret), ""
    else:
        of_provider = _target_of(row, row.provider)
        if of_provider is None:
            return None
        target, path = of_provider, moderation.PATH
    return Endpoint(
        target,
        path,
        write=partial(moderation.write, model=config.model),
        read=partial(moderation.read, thresholds=config.thresholds),
    )


def _webhook(row: Guardrail, config: WebhookConfig, secret: Secret | None) -> Endpoint | None:
    if config.dialect == "litellm":
        if config.auth == "bearer":
            return Endpoint(_own_target(row, "bearer", secret), "", litellm.write, litellm.read)
        target = _own_target(row, "none", None)
        return Endpoint(target, "", litellm.write, litellm.read, api_key=secret)
    if secret is None:  # anybody could ask the webhook in our name
        return None
    target = _own_target(row, "none", None)
    return Endpoint(target, "", webhook.write, webhook.read, signing_secret=secret)


def _own_target(row: Guardrail, auth_kind: str, secret: Secret | None) -> ResolvedTarget:
    """Return the address of a check's own as one to send a call to."""
    return ResolvedTarget(
        provider=row.name,
        protocol=_ANY_PROTOCOL,
        base_url=row.url,
        auth_kind=auth_kind,
        secret=secret,
        owns_credential=row.tenant_id is not None,
        missing_credential=False,
        allow_private_network=row.allow_private_network,
        quirks=Quirks(),
        model="",
        context_window=None,
        max_output_tokens=None,
        capabilities=frozenset(),
    )


def may_ask(row: Guardrail, provider: Provider) -> bool:
    """Return whether the guardrail's owner may use the provider: it is its own, or takes its credentials."""
    if row.tenant_id is None or provider.tenant_id is not None:
        return provider.tenant_id == row.tenant_id
    wants_none = provider.auth_kind == Provider.AuthKind.NONE
    return not wants_none and provider.takes_credentials_of(row.tenant_id)


def _target_of(row: Guardrail, provider: Provider) -> ResolvedTarget | None:
    """Return a provider as one to send a check to, with the credential of whoever owns the guardrail: a
    tenant asks no service at the platform's expense. None if it has none, or the provider is disabled."""
    if not provider.enabled or not may_ask(row, provider):
        return None
    secret = None
    if provider.auth_kind != Provider.AuthKind.NONE:
        own = Credential.objects.filter(provider=provider, tenant=row.tenant_id, enabled=True)
        credential = own.select_related("provider").order_by("-created_at").first()
        if credential is None:
            return None
        secret = credentials.reveal(credential)
    return ResolvedTarget(
        provider=provider.name,
        protocol=provider.protocol,
        base_url=provider.base_url.rstrip("/"),
        auth_kind=provider.auth_kind,
        secret=secret,
        owns_credential=row.tenant_id is not None,
        missing_credential=False,
        allow_private_network=provider.allow_private_network,
        quirks=Quirks.from_row(provider.quirks),
        model="",
        context_window=None,
        max_output_tokens=None,
        capabilities=frozenset(),
    )
