"""The rights of the built-in roles as a table for people."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tenants.access.rights import ROLES, Area
from tenants.models import Membership

AREAS: dict[Area, str | Promise] = {
    Area.TENANT: gettext_lazy("The tenant"),
    Area.SIGN_IN: gettext_lazy("Identity providers"),
    Area.ROLES: gettext_lazy("Own roles"),
    Area.MEMBERS: gettext_lazy("Members, invitations"),
    Area.TOKENS: gettext_lazy("API tokens"),
    Area.AUDIT: gettext_lazy("Audit log"),
    Area.KEYS: gettext_lazy("Keys"),
    Area.ALIASES: gettext_lazy("Aliases"),
    Area.PROVIDERS: gettext_lazy("Providers"),
    Area.CREDENTIALS: gettext_lazy("Credentials"),
    Area.WEBHOOKS: gettext_lazy("Webhooks"),
    Area.GUARDRAILS: gettext_lazy("Guardrails, what they found"),
    Area.RESPONSES: gettext_lazy("Stored responses"),
    Area.LIMITS: gettext_lazy("Budgets and limits of keys"),
    Area.PRICES: gettext_lazy("Prices"),
    Area.USAGE: gettext_lazy("Usage, requests"),
    Area.BILLING: gettext_lazy("Bills"),
    Area.BILLING_DETAILS: gettext_lazy("Billing details"),
}
RIGHTS: dict[str, str | Promise] = {
    "view": gettext_lazy("read"),
    "add": gettext_lazy("add"),
    "change": gettext_lazy("change"),
    "delete": gettext_lazy("delete"),
}


def rows() -> list[tuple[str, list[str]]]:
    """Return a row for each area: its name, and what each role may do there."""
    roles = [role for role, _label in Membership.Role.choices]
    return [(str(label), [_cell(role, area) for role in roles]) for area, label in AREAS.items()]


def _cell(role: str, area: Area) -> str:
    held = {right for at, right in ROLES[role] if at == area}
    if held == {"view", "add", "change", "delete"}:
        return _("manage")
    told = [str(RIGHTS[right]) for right in ("change", "delete", "view") if right in held]
    return ", ".join(told) or "—"
