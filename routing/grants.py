"""New keys, with the aliases they may use."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.core.exceptions import ValidationError
from django.db import transaction

from gateway_project.lib import clock
from gateway_project.lib.secret import Secret
from routing.catalogue import alias_named
from routing.models import AliasGrant
from tenants import keys
from tenants.models import ApiKey, Tenant


@transaction.atomic
def create_key(
    tenant: Tenant,
    name: str,
    *,
    aliases: Sequence[str] | None = None,
    scopes: Sequence[str] | None = None,
    lifetime: timedelta | None = None,
) -> tuple[ApiKey, Secret]:
    """A new key, for every alias and scope (None) or only for those named. Raises ValidationError."""
    if aliases is not None and not aliases:
        raise ValidationError({"aliases": "Name at least one, or leave the option out for all."})
    if lifetime is not None and not lifetime:
        raise ValidationError({"expires": "The key would be expired at once; give more than 0."})
    expires_at = clock.now() + lifetime if lifetime is not None else None
    key, secret = keys.create(
        tenant, name, all_aliases=aliases is None, scopes=scopes, expires_at=expires_at
    )
    granted = [alias_named(name, tenant, "aliases") for name in aliases or ()]
    # Those that links lead to are granted with them, because their grants count too.
    for alias in dict.fromkeys(
        each for one in granted for each in (one, one.platform_alias) if each
    ):
        AliasGrant.objects.create(api_key=key, alias=alias)
    return key, secret
