"""Make, find and list guardrails by the names that are typed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Q

from gateway_project.lib.secret import Secret
from responses_api.models import Guardrail
from routing import catalogue
from tenants import directory, managed
from tenants.access.access import OPERATOR
from tenants.managed.rows import Created
from tenants.models import Tenant


def add(name: str, tenant: str | None, given: Mapping[str, Any]) -> Created[Guardrail]:
    """Make a guardrail of the platform or of a tenant. `given` has names of its alias, key and provider.

    Raise ValidationError.
    """
    owner = directory.tenant_or_platform(tenant)
    values = {key: value for key, value in given.items() if value is not None}
    if "alias" in values:
        values["alias"] = catalogue.alias_named(values["alias"], owner)
    if "api_key" in values:
        values["api_key"] = directory.key(values["api_key"])
    if "provider" in values:
        values["provider"] = catalogue.provider_named(values["provider"], owner)
    return managed.create(OPERATOR, Guardrail, {"tenant": owner, "name": name, **values})


def named(name: str, tenant: Tenant | None) -> Guardrail:
    """Return the guardrail of this name of the platform or of a tenant. Raise ValidationError."""
    found = Guardrail.objects.filter(tenant=tenant, name=name).first()
    if found is None:
        names = Guardrail.objects.filter(tenant=tenant).values_list("name", flat=True)
        known = ", ".join(names[:20]) or "none yet"
        raise ValidationError({"name": f"There is no guardrail {name!r}. Known ones: {known}."})
    return found


def listed(tenant: Tenant | None) -> Sequence[Guardrail]:
    """Return the guardrails that apply to calls of a tenant, the platform's first; without one those of
    the platform."""
    owners = Q(tenant=None) if tenant is None else Q(tenant=None) | Q(tenant=tenant)
    rows = Guardrail.objects.filter(owners).select_related("tenant", "alias", "api_key")
    return sorted(rows, key=lambda row: (row.tenant_id is not None, row.name))


def read_config(text: str) -> dict[str, Any]:
    """Read a configuration that was typed as JSON. Raise ValidationError."""
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValidationError({"config": f"It is not JSON: {error}."}) from None
    if not isinstance(found, dict):
        raise ValidationError({"config": "Write a JSON object."})
    return found


def fields_of(row: Guardrail) -> dict[str, Any]:
    """Return what commands tell of a guardrail."""
    return {
        "id": row.pk,
        "name": row.name,
        "tenant": row.tenant.slug if row.tenant else None,
        "alias": row.alias.name if row.alias else None,
        "key": row.api_key.public_id if row.api_key else None,
        "kind": row.kind,
        "action": row.action,
        "stages": row.stages,
        "enabled": row.enabled,
        "revision": row.revision,
    }


def in_words(row: Guardrail) -> str:
    """Return a line about a guardrail."""
    of = "platform" if row.tenant is None else row.tenant.slug
    narrowed = "".join(
        f", {what} {name}"
        for what, name in (
            ("alias", row.alias.name if row.alias else ""),
            ("key", row.api_key.public_id if row.api_key else ""),
        )
        if name
    )
    off = "" if row.enabled else " (disabled)"
    return f"{of}: {row.name}{off}: {row.kind}, {row.action} at {', '.join(row.stages)}{narrowed}"


def secret_of(given: Secret | None) -> dict[str, Secret]:
    """Return a secret as a value of a new row; nothing where none was given."""
    return {} if given is None else {"secret": given}
