"""List stored responses, conversations and webhook deliveries as logs, page by page from where one ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from responses_api.admin.kept_words import (
    DELIVERY_STATES,
    RESPONSE_STATES,
    delivery_words,
    response_words,
)
from responses_api.reports import first_words, kept_log
from responses_api.reports.kept_log import Columns, KeptFilter, KeptPage, KeptPlace
from responses_api.storage.managed import CONVERSATIONS, RESPONSES, Kept
from tenants.access.rights import Area
from tenants.admin.requests import chips_of, periods_of
from tenants.console import drawing
from tenants.console.pages import ConsolePage, console_page
from tenants.console.scope import MAX_VALUE, Scope
from tenants.models import ApiKey, Tenant


class KeptListPage(ConsolePage):
    """The base of the lists: their place in the address, filters and names."""

    area: ClassVar[Area] = Area.RESPONSES
    period = "30d"
    of_uuids: ClassVar[bool] = False
    filters: ClassVar[tuple[str, ...]] = ()  # those of the scope that the list uses
    states: ClassVar[Mapping[str, str | Promise]] = {}
    model: ClassVar[str]  # the name of its rows' pages

    def context(self, request: HttpRequest, scope: Scope, **captured: Any) -> dict[str, Any]:
        asked = self.asked(request, scope)
        before, after = self._place(request, "before"), self._place(request, "after")
        page = self.read(asked, before, after)
        own = {"endpoint": asked.endpoint}
        return {
            "rows": self.shown(scope, page),
            "older": scope.link(**own, before=page.older) if page.older else "",
            "newer": scope.link(**own, after=page.newer) if page.newer else "",
            "newest": scope.link(**own),
            "is_newest": before is None and after is None,
            "periods": periods_of(scope),
            "chips": self._chips(scope),
            "is_filtered": bool(scope.filters or asked.endpoint),
            "without_filters": scope.link(**dict.fromkeys(scope.filters)),
            "endpoint": asked.endpoint,
            "filters": self.filters,
            "states": self.states,
            "kept": {n: v for n, v in scope.given.items() if n not in self.filters},
            "here": reverse(f"admin:{self.name}"),
            "chooses": self._chooses(scope),
            "shows_tenant": scope.tenant is None,
            "starts": scope.start.astimezone(scope.zone),
            "ends": scope.end.astimezone(scope.zone),
            "zone_name": str(scope.zone),
        }

    def asked(self, request: HttpRequest, scope: Scope) -> KeptFilter:
        used = {name: scope.filters.get(name, "") for name in self.filters}
        return KeptFilter(scope.start, scope.end, scope.tenant_ids(self.area), **used)

    def read(
        self, asked: KeptFilter, before: KeptPlace | None, after: KeptPlace | None
    ) -> KeptPage:
        raise NotImplementedError

    def shown(self, scope: Scope, page: KeptPage) -> list[dict[str, Any]]:
        """Return the rows in words."""
        raise NotImplementedError

    def _place(self, request: HttpRequest, name: str) -> KeptPlace | None:
        try:
            return KeptPlace.parse(request.GET.get(name, ""), of_uuids=self.of_uuids)
        except ValueError:
            return None

    def _chips(self, scope: Scope) -> list[dict[str, str]]:
        """Return the filters in force; a state goes by the list's own word for it."""
        value = scope.filters.get("status", "")
        word = {"value": str(self.states.get(value, value))}
        named = zip(scope.filters, chips_of(scope), strict=True)
        return [chip | word if name == "status" else chip for name, chip in named]

    def _chooses(self, scope: Scope) -> str:
        """Return where those who may do something with several rows choose them."""
        return self.address("changelist") if scope.may("delete", self.area) else ""

    def address(self, page: str, *args: Any) -> str:
        return reverse(f"admin:responses_api_{self.model}_{page}", args=args)

    def common(self, scope: Scope, row: Columns, tenants: Mapping[int, str]) -> dict[str, Any]:
        """Return what every list shows: when, which row, whose."""
        at, row_id, tenant_id, *_rest = row
        return {
            "id": row_id,
            "address": f"{self.address('change', row_id)}{scope.link(**dict.fromkeys(scope.filters))}",
            "at": drawing.instant(at, scope.zone),
            "tenant": tenants.get(tenant_id, ""),
        }


class SaidListPage(KeptListPage):
    """A list that shows how talks begin, once one tenant is looked at; that it is read is recorded."""

    resource: ClassVar[Kept]

    def context(self, request: HttpRequest, scope: Scope, **captured: Any) -> dict[str, Any]:
        return {**super().context(request, scope), "shows_words": scope.tenant is not None}

    def record(self, scope: Scope, page: KeptPage) -> None:
        """Record that first words are read, before any is."""
        if scope.tenant is not None and page.rows:
            with transaction.atomic():
                self.resource.record_listed(scope.tenant.pk, [row[1] for row in page.rows])


@console_page
class StoredResponsesPage(SaidListPage):
    """Stored responses, newest first."""

    path = "responses"
    name = "responses"
    title = _("Responses")
    template = "console/responses.html"
    filters = ("key", "alias", "status")
    states = RESPONSE_STATES
    model = "storedresponse"
    resource = RESPONSES

    def read(
        self, asked: KeptFilter, before: KeptPlace | None, after: KeptPlace | None
    ) -> KeptPage:
        return kept_log.responses(asked, before, after)

    def shown(self, scope: Scope, page: KeptPage) -> list[dict[str, Any]]:
        self.record(scope, page)
        tenants, keys = _tenants(scope, page), _keys({row[5] for row in page.rows})
        starts = first_words.of_responses(
            [row[1] for row in page.rows],
            (row[2] for row in page.rows),
            with_words=scope.tenant is not None,
        )
        nothing = first_words.TalkStart()
        return [
            {
                **self.common(scope, row, tenants),
                "state": response_words(row[3]),
                "alias": row[4],
                "key": row[5],
                "key_name": keys.get((row[2], row[5]), ""),
                "background": row[6],
                "expires": drawing.day(row[7], scope.zone),
                "start": starts.get(row[1], nothing),
            }
            for row in page.rows
        ]


@console_page
class ConversationsPage(SaidListPage):
    """Conversations, newest first."""

    path = "conversations"
    name = "conversations"
    title = _("Conversations")
    template = "console/conversations.html"
    model = "conversation"
    resource = CONVERSATIONS

    def read(
        self, asked: KeptFilter, before: KeptPlace | None, after: KeptPlace | None
    ) -> KeptPage:
        return kept_log.conversations(asked, before, after)

    def shown(self, scope: Scope, page: KeptPage) -> list[dict[str, Any]]:
        self.record(scope, page)
        tenants = _tenants(scope, page)
        starts = first_words.of_conversations(
            [row[1] for row in page.rows],
            (row[2] for row in page.rows),
            with_words=scope.tenant is not None,
        )
        nothing = first_words.TalkStart()
        return [
            {**self.common(scope, row, tenants), "start": starts.get(row[1], nothing)}
            for row in page.rows
        ]


@console_page
class DeliveriesPage(KeptListPage):
    """Webhook deliveries, newest first; `endpoint` narrows them to one."""

    path = "webhook-deliveries"
    name = "deliveries"
    title = _("Webhook deliveries")
    template = "console/deliveries.html"
    area = Area.WEBHOOKS
    filters = ("status",)
    states = DELIVERY_STATES
    model = "webhookdelivery"
    of_uuids = True

    def asked(self, request: HttpRequest, scope: Scope) -> KeptFilter:
        status, endpoint = scope.filters.get("status", ""), request.GET.get("endpoint", "")
        return KeptFilter(
            scope.start,
            scope.end,
            scope.tenant_ids(self.area),
            status=status,
            endpoint=endpoint[:MAX_VALUE],
        )

    def read(
        self, asked: KeptFilter, before: KeptPlace | None, after: KeptPlace | None
    ) -> KeptPage:
        return kept_log.deliveries(asked, before, after)

    def shown(self, scope: Scope, page: KeptPage) -> list[dict[str, Any]]:
        tenants = _tenants(scope, page)
        return [
            {
                **self.common(scope, row, tenants),
                "event": row[3],
                "about": row[4],
                "state": delivery_words(row[5]),
                "attempts": row[6],
                "http": row[7],
                "http_told": f"HTTP {row[7]}",  # what an error says that says no more
                "error": row[8],
                "endpoint": row[9],
            }
            for row in page.rows
        ]

    def _chooses(self, scope: Scope) -> str:
        return self.address("changelist") if scope.may("change", self.area) else ""


def _tenants(scope: Scope, page: KeptPage) -> dict[int, str]:
    if scope.tenant is not None:
        return {}
    rows = Tenant.objects.filter(pk__in={row[2] for row in page.rows}).order_by()
    return dict(rows.values_list("pk", "name"))


def _keys(public_ids: set[str]) -> dict[tuple[int, str], str]:
    """Return the names of keys by tenant and public id."""
    rows = ApiKey.objects.filter(public_id__in=public_ids).order_by()
    return {
        (tenant_id, public_id): name
        for tenant_id, public_id, name in rows.values_list("tenant_id", "public_id", "name")
    }
