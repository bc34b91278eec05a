"""Make keys whole: with the aliases they may use, their rate limits and their budget, or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db.models import F, Q

from gateway_project.lib import clock
from gateway_project.lib.db import durable_transaction
from gateway_project.lib.secret import Secret
from routing.catalogue import alias_named
from routing.models import Alias, AliasGrant
from tenants import managed
from tenants.access.access import OPERATOR, Access
from tenants.managed.resource import Values
from tenants.models import ApiKey, Budget, RateLimit, Tenant, default_scopes

# What is given of a new key beside its own columns.
PARTS = ("aliases", "limits", "budget")
MOST_LIMITS = 20


def create_whole_key(who: Access, values: Values) -> managed.Created[ApiKey]:
    """Make a key of these values. Raise PermissionDenied, or ValidationError that names the fields.

    aliases   names of the only aliases it may use; None: all of them
    limits    its rate limits, each with `metric`, `window` and `amount`
    budget    its budget: `amount_nano`, and what else a budget has; its name is the key's if none is given
    """
    parts = {name: values[name] for name in PARTS if values.get(name) is not None}
    own = {name: value for name, value in values.items() if name not in PARTS}
    if "aliases" in parts:
        own["all_aliases"] = False
    with durable_transaction():
        made = managed.create(who, ApiKey, own)
        if "aliases" in parts:
            set_aliases(who, made.row, _named(parts["aliases"], made.row.tenant))
        for limit in _limits(parts):
            _make_part(who, "limits", RateLimit, made.row, limit)
        if "budget" in parts:
            _make_part(who, "budget", Budget, made.row, _budget(parts["budget"], made.row))
    return made


def set_aliases(who: Access, key: ApiKey, wanted: Iterable[Alias]) -> bool:
    """Let a restricted key use these aliases and no others; tell whether anything changed.

    An alias of the platform that a link leads to is granted with it, because its grants count too.
    Raise PermissionDenied or ValidationError.
    """
    chosen = {each.pk: each for alias in wanted for each in (alias, alias.platform_alias) if each}
    with durable_transaction():
        present = {grant.alias_id: grant for grant in _grants(key)}
        # Links first: what they lead to may not be taken away before them.
        for grant in sorted(
            present.values(), key=lambda each: each.alias.platform_alias_id is None
        ):
            if grant.alias_id not in chosen:
                managed.remove(who, grant)
        for pk, alias in chosen.items():
            if not key.alias_grants.filter(alias=pk).exists():
                managed.create(who, AliasGrant, {"api_key": key, "alias": alias})
    return present.keys() != chosen.keys()


def usable_aliases(key: ApiKey) -> list[str]:
    """Return the names of the aliases that a key may use, those of its tenant first, then the oldest."""
    rows = Alias.objects.filter(Q(tenant=key.tenant_id) | Q(tenant=None), enabled=True)
    if not key.all_aliases:
        rows = rows.filter(grants__api_key=key)
    found = rows.order_by(F("tenant").asc(nulls_last=True), "pk").values_list("name", flat=True)
    return list(dict.fromkeys(found))


def granted_names(key: ApiKey) -> list[str]:
    """Return the names of the aliases a key is granted."""
    rows = AliasGrant.objects.filter(api_key=key).order_by("alias__name")
    return list(rows.values_list("alias__name", flat=True))


def _grants(key: ApiKey) -> Iterable[AliasGrant]:
    return AliasGrant.objects.filter(api_key=key).select_related("alias")


def set_aliases_by_name(who: Access, key: ApiKey, names: Any) -> None:
    """Let a restricted key use the aliases of these names and no others. Raise as `set_aliases`."""
    set_aliases(who, key, _named(names, key.tenant))


def _named(names: Any, tenant: Tenant) -> list[Alias]:
    is_list = isinstance(names, list | tuple) and all(isinstance(each, str) for each in names)
    if not is_list or any("\0" in each for each in names):
        raise ValidationError({"aliases": "Write a list of names."})
    return [alias_named(name, tenant, "aliases") for name in dict.fromkeys(names)]


def _limits(parts: Mapping[str, Any]) -> Sequence[Values]:
    given = parts.get("limits", ())
    if not isinstance(given, list | tuple) or not all(isinstance(e, Mapping) for e in given):
        raise ValidationError({"limits": "Write a list of objects."})
    if len(given) > MOST_LIMITS:
        raise ValidationError({"limits": f"Write at most {MOST_LIMITS}."})
    return given


def _budget(given: Any, key: ApiKey) -> Values:
    if not isinstance(given, Mapping):
        raise ValidationError({"budget": "Write an object."})
    if given.get("amount_nano") is None:
        raise ValidationError({"budget": "amount_nano: This is needed."})
    return {"name": key.name, **given}


def _make_part(
    who: Access, part: str, model: type[RateLimit] | type[Budget], key: ApiKey, values: Values
) -> None:
    """Make a row that bounds the key; errors name the part, and the field within it."""
    if named := sorted({"tenant", "api_key"} & values.keys()):
        raise ValidationError({part: f"{named[0]}: It is the new key's; leave it out."})
    try:
        managed.create(who, model, {**values, "tenant": key.tenant, "api_key": key})
    except ValidationError as error:
        raise ValidationError({part: _sentences(error)}) from error


def _sentences(error: ValidationError) -> list[str]:
    if not hasattr(error, "error_dict"):
        return error.messages
    return [
        sentence if name == NON_FIELD_ERRORS else f"{name}: {sentence}"
        for name, sentences in error.message_dict.items()
        for sentence in sentences
    ]


def create_key(
    tenant: Tenant,
    name: str,
    *,
    aliases: Sequence[str] | None = None,
    scopes: Sequence[str] | None = None,
    lifetime: timedelta | None = None,
    limits: Sequence[Values] = (),
    budget: Values | None = None,
) -> tuple[ApiKey, Secret]:
    """Create a key for every alias and scope (None) or only for those named. Raise ValidationError."""
    if aliases is not None and not aliases:
        raise ValidationError({"aliases": "Name at least one, or omit the option for all."})
    if lifetime is not None and not lifetime:
        raise ValidationError({"expires": "The key would expire at once; give more than 0."})
    made = create_whole_key(
        OPERATOR,
        {
            "tenant": tenant,
            "name": name,
            "scopes": default_scopes() if scopes is None else sorted(scopes),
            "expires_at": clock.now() + lifetime if lifetime is not None else None,
            "aliases": aliases,
            "limits": limits,
            "budget": budget,
        },
    )
    assert made.secret is not None
    return made.row, made.secret
