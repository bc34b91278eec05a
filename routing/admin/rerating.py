"""The page that asks what another price would change of past requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from routing import rerating
from tenants.access.requests import access
from tenants.access.rights import Area
from tenants.admin.long_work import TaskPage, span_of
from tenants.console import drawing
from tenants.console.pages import console_page
from tenants.console.scope import Scope
from tenants.models import LongTask, PriceVersion

MOST_OFFERED = 200


@console_page
class ReratingPage(TaskPage):
    """Asks what it would change to charge past requests by another price. Nothing changes here."""

    path = name = "rerating"
    title = gettext_lazy("Re-rating")
    template = "console/rerating.html"
    area = Area.BILLING
    operators_only = True
    kind = LongTask.Kind.RERATING

    @classmethod
    def may(cls, request: HttpRequest) -> bool:
        return super().may(request) and (Area.BILLING, "change") in access(request).platform

    def context(self, request: HttpRequest, scope: Scope, **captured: Any) -> dict[str, Any]:
        versions = PriceVersion.objects.filter(
            book=PriceVersion.Book.CHARGE, published_at__isnull=False
        ).select_related("tenant")
        if scope.tenant is not None:
            versions = versions.filter(tenant=scope.tenant) | versions.filter(tenant=None)
        found = versions.order_by("-published_at", "-pk")[:MOST_OFFERED]
        return {"versions": [(version.pk, _named(version, scope)) for version in found]}

    def ask(self, request: HttpRequest, scope: Scope, given: Mapping[str, str]) -> LongTask:
        start, end = span_of(given, scope.zone)
        number = given.get("version", "")
        is_number = number.isascii() and number.isdigit() and len(number) < 19
        version = PriceVersion.objects.filter(pk=number).first() if is_number else None
        if version is None:
            raise ValidationError(_("Choose a price."))
        return rerating.ask(
            scope.who,
            version,
            scope.tenant,
            start,
            end,
            reason=given.get("reason", ""),
            with_unpriced="with_unpriced" in given,
        )


def _named(version: PriceVersion, scope: Scope) -> str:
    whose = f" · {version.tenant}" if version.tenant is not None else ""
    since = drawing.instant(version.effective_from, scope.zone)
    text = _("%(subject)s%(whose)s, from %(since)s on (%(number)s)")
    told = {"subject": version.subject, "whose": whose, "since": since, "number": version.pk}
    return text % told
