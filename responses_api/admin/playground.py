"""The playground: a page that calls the API of the gateway, with a token of the person and one key."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from responses_api.doors.registry import RESPONSES
from responses_api.models import StoredResponse
from routing.resolve import visible_aliases
from tenants.access.requests import access
from tenants.access.rights import Area
from tenants.console.pages import ConsolePage, console_page
from tenants.console.scope import Scope
from tenants.keys import caller
from tenants.ledger import row_ids
from tenants.models import ApiKey, UsageRow
from tenants.sign_in import players

MOST_KEYS = 200


class PlayersPage(ConsolePage):
    """A page for whoever may change keys somewhere."""

    area = Area.KEYS

    @classmethod
    def may(cls, request: HttpRequest) -> bool:
        return access(request).may_somewhere("change", Area.KEYS)


@console_page
class PlaygroundPage(PlayersPage):
    """Chat and Responses, streamed, with what goes over the wire beside it.

    `key` and `alias` choose; `previous_response_id` continues a stored response, `request` opens a request of
    the ledger with its key, alias and route.
    """

    path = "playground"
    name = "playground"
    title = gettext_lazy("Playground")
    template = "console/playground.html"

    def context(self, request: HttpRequest, scope: Scope, **captured: Any) -> dict[str, Any]:
        notes: list[str] = []
        start = _start(request, scope, notes)
        keys = _keys(scope)
        key = next((each for each in keys if each.public_id == start["key"]), None)
        if start["key"] and key is None:
            notes.append(
                _("There is no active key %(key)s that you may change.") % {"key": start["key"]}
            )
        key = key or (keys[0] if keys else None)
        aliases = [] if key is None else _aliases(key)
        if start["alias"] and start["alias"] not in aliases:
            notes.append(_("This key may not use the alias %(alias)s.") % {"alias": start["alias"]})
        return {
            "keys": keys,
            "chosen": key,
            "aliases": aliases,
            "start": start,
            "notes": notes,
            "spans_tenants": scope.tenant is None,
            "request_url": _request_url(),
        }


def _start(request: HttpRequest, scope: Scope, notes: list[str]) -> dict[str, str]:
    """Return what the page begins with: from its address, a stored response, or a request of the ledger."""
    start = {
        "key": scope.filters.get("key", ""),
        "alias": scope.filters.get("alias", ""),
        "route": RESPONSES.name,
        "previous": "",
    }
    previous, opened = (
        request.GET.get(name, "")[:100] for name in ("previous_response_id", "request")
    )
    if previous:
        _continue(scope, previous, start, notes)
    elif opened:
        _open(scope, opened, start, notes)
    return start


def _continue(scope: Scope, response_id: str, start: dict[str, str], notes: list[str]) -> None:
    row = StoredResponse.objects.filter(pk=response_id.replace("\0", "")).first()
    if row is None or not scope.who.may("view", Area.RESPONSES, row.tenant_id):
        notes.append(_("There is no stored response %(id)s.") % {"id": response_id})
        return
    start.update(key=row.key_public_id, alias=row.model, previous=row.pk)


def _open(scope: Scope, request_id: str, start: dict[str, str], notes: list[str]) -> None:
    row = _first_row(request_id)
    if row is None or not scope.who.may("view", Area.USAGE, row.tenant_id):
        notes.append(_("There is no request %(id)s.") % {"id": request_id})
        return
    keys = ApiKey.objects.filter(pk=row.key_id or 0)
    public_id = keys.values_list("public_id", flat=True).first()
    start.update(key=public_id or "", alias=row.requested_model or row.alias, route=row.route)


def _first_row(request_id: str) -> UsageRow | None:
    try:
        rows = row_ids.rows_of(request_id)
    except ValueError:
        return None
    return UsageRow.objects.filter(pk__range=rows).order_by("pk").first()


def _keys(scope: Scope) -> list[ApiKey]:
    rows = ApiKey.objects.filter(revoked_at=None, tenant__status="active").select_related("tenant")
    if scope.tenant is not None:
        rows = rows.filter(tenant=scope.tenant)
    if (Area.KEYS, "change") not in scope.who.platform:
        rows = rows.filter(tenant__in=scope.who.tenants_where("change", Area.KEYS))
    chosen = scope.filters.get("key")
    found = list(rows.order_by("name", "pk")[:MOST_KEYS])
    if chosen and all(each.public_id != chosen for each in found):
        found += rows.filter(public_id=chosen)
    return found


def _aliases(key: ApiKey) -> list[str]:
    found = caller.find_by_id(key.tenant_id, key.public_id)
    return [] if found is None else [alias.name for alias in visible_aliases(found)]


def _request_url() -> str:
    """Return the address of a request's page, with REQUEST for its id; blank where there is no such page."""
    try:
        return reverse("admin:request", args=("REQUEST",))
    except NoReverseMatch:
        return ""


@console_page
class PlaygroundTokenPage(PlayersPage):
    """Signs a token for the person and one key, for fifteen minutes; it is told once and stored nowhere."""

    path = "playground/token"
    name = "playground_token"
    title = gettext_lazy("Playground")
    template = ""
    methods = frozenset({"POST"})

    def respond(self, request: HttpRequest, scope: Scope, **captured: Any) -> HttpResponse:
        public_id = request.POST.get("key", "").replace("\0", "")
        key = ApiKey.objects.filter(public_id=public_id, revoked_at=None).first()
        # One answer for what there is not and for what is another tenant's.
        if key is None or not access(request).may("view", Area.KEYS, key.tenant_id):
            raise Http404
        if not players.may_play(access(request), key):
            raise PermissionDenied
        secret, expires_at = players.sign_for(request, key)
        answer = {"token": secret.reveal(), "expires_at": expires_at}
        return JsonResponse(answer, headers={"cache-control": "no-store"})
