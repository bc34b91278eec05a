"""Gather what every page's frame shows: as whom one acts, whose rows one looks at, and in which zone."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from tenants.access.requests import access, support_session
from tenants.console.scope import MOST_OFFERED, asked_tenant, carried, offered_tenants, zone_of

# Of a model's pages all but its list are about one row, which is one tenant's.
_OF_ONE_ROW = ("_add", "_change", "_delete", "_history", "_do")


def header(request: HttpRequest) -> dict[str, Any]:
    """Return the template's variables; few for strangers."""
    label = {"environment_label": settings.ENVIRONMENT_LABEL}
    if not access(request):
        return label
    return {
        **label,
        "support": support_session(request),
        "scope_tenant": asked_tenant(request),
        "scope_query": carried(request),
        "zone_name": str(zone_of(request)),
        **_switcher(request),
    }


def _switcher(request: HttpRequest) -> dict[str, Any]:
    """Return the tenants to choose from; none where there is no choice, a field to type in for many."""
    who, chosen = access(request), asked_tenant(request)
    if not who.sees_all_tenants and len(who.tenants) < 2:
        return {"only_tenant": chosen}
    offered = offered_tenants(request)
    has_many = len(offered) > MOST_OFFERED
    return {
        "offered_tenants": [] if has_many else offered,
        "has_many_tenants": has_many,
        "suggested_tenants": offered[:MOST_OFFERED] if has_many else [],
        "chosen_tenant": chosen,
        "scope_action": _page_of_all(request),
        "scope_kept": [(n, request.GET[n]) for n in ("period", "from", "to") if request.GET.get(n)],
    }


def _page_of_all(request: HttpRequest) -> str:
    """Return where another tenant is looked at: here, or the list where this is the page of one row."""
    match = request.resolver_match
    if match is None or match.app_name != "admin" or match.url_name is None:
        return reverse("admin:index")
    name, _, ending = match.url_name.rpartition("_")
    if not match.kwargs and f"_{ending}" not in _OF_ONE_ROW:
        return request.path
    try:
        return reverse(f"admin:{name}_changelist")
    except NoReverseMatch:
        return reverse("admin:index")
