"""The page of the management API's tokens: made and revoked here, each shown once."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext, gettext_lazy
from django.utils.translation import gettext as _

from gateway_project.lib import clock
from gateway_project.lib.secret import Secret
from tenants.access.access import Access
from tenants.admin import confirming
from tenants.console.scoped_admin import TenantModelAdmin, TenantRelatedFilter, access
from tenants.console.scoped_forms import TenantForm
from tenants.console.shown_once import ShownOnce, show_once
from tenants.keys import api_tokens
from tenants.managed.tokens import TOKENS, refuse_in_support
from tenants.models import ApiToken
from tenants.sign_in import token_demands
from tenants.theme import LinesField


class TokenForm(TenantForm):
    """A token, whose scopes are narrowed to what its maker may."""

    who: Access
    scopes = LinesField(
        label=gettext_lazy("Scopes"),
        help_text=gettext_lazy(
            "What it may do, one a line, such as keys.view or limits.*; * alone: all that you may."
        ),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if self.instance._state.adding:
            refuse_in_support()
        scopes, tenant = cleaned.get("scopes"), cleaned.get("tenant")
        if self.instance._state.adding and scopes is not None:
            tenant_id = self.home if tenant is None else tenant.pk
            try:
                cleaned["scopes"] = api_tokens.narrow(self.who, scopes, tenant_id)
            except ValidationError as error:
                self.add_error("scopes", error.message_dict["scopes"])
        return cleaned


# The secret's page takes the place of where these buttons would lead.
ADD_BUTTONS = {"show_save_and_add_another": False, "show_save_and_continue": False}


@admin.register(ApiToken)
class ApiTokenAdmin(TenantModelAdmin):
    when_empty = gettext_lazy("A token is for programs that call the management API.")
    resource = TOKENS
    proof_for = frozenset({"add"})  # it shows a secret
    form = TokenForm
    list_display = ("name", "public_id", "tenant", "state", "last_used_at", "expires_at")
    list_select_related = ("tenant", "created_by")
    list_filter = (("tenant", TenantRelatedFilter),)
    search_fields = ("name", "public_id", "tenant__name")
    fields = (
        "tenant",
        "name",
        "public_id",
        "scopes",
        "expires_at",
        "last_four_shown",
        "requests",
        "last_used_at",
        "revoked_at",
        "created_at",
        "maker",
    )
    readonly_fields = (
        "public_id",
        "last_four_shown",
        "requests",
        "last_used_at",
        "revoked_at",
        "created_at",
        "maker",
    )
    autocomplete_fields = ("tenant",)
    actions = ("revoke",)

    @admin.display(description=gettext_lazy("Status"))
    def state(self, token: ApiToken) -> str:
        if token.revoked_at is not None:
            return gettext("Revoked")
        is_over = token.expires_at is not None and token.expires_at <= clock.now()
        return gettext("Expired") if is_over else gettext("Active")

    @admin.display(description=gettext_lazy("Token"))
    def last_four_shown(self, token: ApiToken) -> str:
        return f"••••{token.last_four}"

    @admin.display(description=gettext_lazy("Requests with it"))
    def requests(self, token: ApiToken) -> str:
        """Say what the list does not look up for each: a token may be refused for what its maker is now."""
        if api_tokens.is_in_force(token):
            return _("Let in.")
        return _(
            "Refused: it has ended, or its maker may do nothing of it any more, or does not meet what the "
            "tenant demands of a sign-in. Revoke it, or make another."
        )

    @admin.display(description=gettext_lazy("Created by"))
    def maker(self, token: ApiToken) -> str:
        person = "manage.py" if token.created_by is None else str(token.created_by)
        return f"{person} ({token.made_by})" if token.made_by else person

    def get_form(
        self, request: HttpRequest, obj: Model | None = None, change: bool = False, **options: Any
    ) -> type[forms.ModelForm[Any]]:
        form = super().get_form(request, obj, change, **options)
        form.who = access(request)  # type: ignore[attr-defined]  # a class of this request alone
        return form

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().add_view(request, form_url, {**(extra_context or {}), **ADD_BUTTONS})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.created_by = request.user
            token_demands.note_proof(obj, request)
            obj.fresh = api_tokens.give_secret(obj)
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        secret: Secret = obj.fresh
        issued = [ShownOnce(obj, secret.reveal())]
        return show_once(self, request, issued, title=_("Copy the token now"), kind=_("Token"))

    @admin.action(permissions=["delete"], description=gettext_lazy("Revoke permanently"))
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> HttpResponse | None:
        chosen = list(queryset)
        if not all(self.may("delete", request, token) for token in chosen):
            raise PermissionDenied
        if not confirming.is_confirmed(request):
            template = "admin/tenants/apitoken/revoke.html"
            return confirming.ask(self, request, template, chosen, title=_("Revoke API tokens"))
        with transaction.atomic():
            for token in chosen:
                api_tokens.revoke(token)
                self.log_change(request, token, "Revoked.")
        self.message_user(
            request, _("Revoked: %(names)s.") % {"names": ", ".join(map(str, chosen))}
        )
        return None
