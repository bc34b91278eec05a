"""The page that asks how much a tenant has stored before a day. Nothing is deleted here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway_project.lib import clock
from responses_api.storage import purging
from tenants.access.requests import access
from tenants.access.rights import Area
from tenants.admin.long_work import DAY_LENGTH, TaskPage
from tenants.console.pages import console_page
from tenants.console.purge_words import KINDS
from tenants.console.scope import Scope, instant_of, offered_tenants
from tenants.models import LongTask

USUAL_AGE = timedelta(days=30)


@console_page
class PurgePage(TaskPage):
    """Asks how much would be deleted of what a tenant has stored; its task waits to be confirmed."""

    path = name = "purge"
    title = gettext_lazy("Purge")
    template = "console/purge.html"
    area = Area.RESPONSES
    kind = LongTask.Kind.PURGE

    @classmethod
    def may(cls, request: HttpRequest) -> bool:
        return super().may(request) and access(request).may_somewhere("delete", Area.RESPONSES)

    def context(self, request: HttpRequest, scope: Scope, **captured: Any) -> dict[str, Any]:
        may = scope.tenant is not None and purging.may_purge(scope.who, scope.tenant)
        usual = (clock.now() - USUAL_AGE).astimezone(scope.zone)
        chosen = request.POST.getlist("kinds") if request.method == "POST" else list(KINDS)
        return {
            "needs_tenant": not may,
            "has_tenants": may or bool(offered_tenants(request)),
            "before": request.POST.get("before", f"{usual:%Y-%m-%d}")[:DAY_LENGTH],
            "today": f"{clock.now().astimezone(scope.zone):%Y-%m-%d}",
            "kinds": [(kind, word, kind in chosen) for kind, word in KINDS.items()],
            "days_kept": None if scope.tenant is None else scope.tenant.retention_days,
        }

    def ask(self, request: HttpRequest, scope: Scope, given: Mapping[str, str]) -> LongTask:
        try:
            before = instant_of(given.get("before", "")[:DAY_LENGTH], scope.zone)
        except (ValueError, OverflowError):
            raise ValidationError(_("Give the first day that is kept.")) from None
        try:
            if scope.tenant is None:
                raise PermissionDenied
            return purging.ask(scope.who, scope.tenant, before, request.POST.getlist("kinds"))
        except PermissionDenied:
            raise ValidationError(
                _("Choose a tenant at the top whose stored responses you may delete.")
            ) from None
