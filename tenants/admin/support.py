"""The pages of support: an operator begins to act as a tenant here, and everybody sees who did."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.middleware.csrf import rotate_token
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from tenants.access.requests import SUPPORT_SESSION, support_session
from tenants.access.rights import Area, Right
from tenants.console.scoped_admin import TenantModelAdmin, TenantRelatedFilter, access
from tenants.members import support
from tenants.models import SupportSession


@admin.register(SupportSession)
class SupportSessionAdmin(TenantModelAdmin):
    when_empty = gettext_lazy(
        "Operators who act as a tenant for a while say why; the tenant sees it here."
    )
    area = Area.AUDIT
    rights: frozenset[Right] = frozenset({"view", "add"})
    list_display = ("started_at", "operator_name", "tenant", "role", "reason", "ends_at")
    list_select_related = ("tenant",)
    list_filter = (("tenant", TenantRelatedFilter),)
    fields = ("tenant", "role", "reason", "operator_name", "started_at", "ends_at")
    readonly_fields = ("operator_name", "started_at", "ends_at")
    autocomplete_fields = ("tenant",)

    def may(self, right: Right, request: HttpRequest, row: Model | None) -> bool:
        return right in self.rights and super().may(right, request, row)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_POST(self.end))
        return [path("end/", view, name="end_support"), *super().get_urls()]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        who: Any = request.user
        session = support.start(access(request), who, obj.tenant, role=obj.role, reason=obj.reason)
        obj.pk, obj._state.adding = session.pk, False

    def response_add(
        self, request: HttpRequest, obj: SupportSession, post_url_continue: str | None = None
    ) -> HttpResponse:
        request.session[SUPPORT_SESSION] = obj.pk
        rotate_token(request)  # forms that are open now are not sent with other rights
        return HttpResponseRedirect(reverse("admin:index"))

    def end(self, request: HttpRequest) -> HttpResponse:
        session = support_session(request)
        if session is not None:
            support.end(session)
            del request.session[SUPPORT_SESSION]
            rotate_token(request)
            messages.success(
                request, _("You no longer act as %(tenant)s.") % {"tenant": session.tenant}
            )
        return HttpResponseRedirect(reverse("admin:index"))
