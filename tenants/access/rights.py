"""Name every right there is, and the rights each role gives: the table of docs/security.md.

The console and the management API ask this table alone. A role is a set of permissions and is compared as
one: somebody may give away a role if, and only if, they hold every permission in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Literal, get_args

Right = Literal["view", "add", "change", "delete"]
RIGHTS: tuple[Right, ...] = get_args(Right)


class Area(StrEnum):
    """A kind of object that rights are given for."""

    TENANT = "tenant"
    SIGN_IN = "sign_in"  # a tenant's identity providers, and whether it demands a second factor
    ROLES = "roles"  # roles of a tenant's own
    MEMBERS = "members"  # memberships and invitations
    TOKENS = "tokens"  # tokens of the management API
    AUDIT = "audit"
    KEYS = "keys"
    ALIASES = "aliases"
    PROVIDERS = "providers"
    CREDENTIALS = "credentials"
    WEBHOOKS = "webhooks"
    GUARDRAILS = "guardrails"  # guardrails, and what they found
    RESPONSES = "responses"  # stored prompts and answers, conversations
    LIMITS = (
        "limits"  # rate limits and budgets; those of a whole tenant are the operators' to change
    )
    PRICES = "prices"
    USAGE = "usage"
    BILLING = "billing"
    BILLING_DETAILS = "billing_details"  # whom invoices are addressed to


Permission = tuple[Area, Right]
Permissions = frozenset[Permission]


def _may(areas: Iterable[Area], *rights: Right) -> Permissions:
    return frozenset((area, right) for area in areas for right in rights)


NONE: Permissions = frozenset()
EVERYTHING = _may(Area, *RIGHTS)
_VIEW_ALL = _may(Area, "view")
# Reads everything of the platform and of every tenant, but not what people said to their models.
AUDITOR = _VIEW_ALL - _may([Area.RESPONSES], "view")

_ADMIN = (
    _VIEW_ALL
    | _may([Area.TENANT], "change")  # only operators make and delete tenants
    | _may([Area.MEMBERS, Area.TOKENS, Area.KEYS, Area.ALIASES, Area.WEBHOOKS], *RIGHTS)
    | _may([Area.PROVIDERS, Area.CREDENTIALS, Area.LIMITS, Area.GUARDRAILS], *RIGHTS)
    | _may([Area.BILLING_DETAILS], *RIGHTS)
    | _may([Area.RESPONSES], "delete")
)
_OWNER = _ADMIN | _may([Area.SIGN_IN, Area.ROLES], *RIGHTS)
_DEVELOPER = _VIEW_ALL | _may([Area.KEYS, Area.ALIASES, Area.WEBHOOKS], *RIGHTS)
# What was said is not a matter of money.
_BILLING = (_VIEW_ALL - _may([Area.RESPONSES], "view")) | _may(
    [Area.LIMITS, Area.BILLING_DETAILS], *RIGHTS
)

ROLES: Mapping[str, Permissions] = {
    "owner": _OWNER,
    "admin": _ADMIN,
    "developer": _DEVELOPER,
    "billing": _BILLING,
    "viewer": _VIEW_ALL,
}
# All that a tenant's people can be given; what is left of EVERYTHING is for operators alone.
TENANT_MOST = ROLES["owner"]
# Whoever works in a tenant sees that it is there.
_MEMBER = _may([Area.TENANT], "view")


def permissions_of(role: str, own: Iterable[str] | None = None) -> Permissions:
    """Return what a built-in role gives or, where `own` names permissions, a tenant's own role.

    Names are read leniently: what this version does not know, or tenants may not have, gives nothing.
    """
    if own is None:
        return ROLES.get(role, NONE)
    return (read_names(own) & TENANT_MOST) | _MEMBER


def name_of(permission: Permission) -> str:
    """Return the permission as it is stored and typed, such as `keys.change`."""
    area, right = permission
    return f"{area}.{right}"


_BY_NAME = {name_of(permission): permission for permission in EVERYTHING}
# In the order of the table.
TENANT_NAMES = tuple(
    name_of((area, right)) for area in Area for right in RIGHTS if (area, right) in TENANT_MOST
)


def read_names(names: Iterable[str]) -> Permissions:
    """Return the permissions of these names, without those that do not exist."""
    return frozenset(_BY_NAME[name] for name in names if name in _BY_NAME)


def reading_only(permissions: Permissions) -> Permissions:
    """Return what is left where nothing may be changed."""
    return permissions & _VIEW_ALL
