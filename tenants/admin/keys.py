"""The pages on API keys: made, rotated and revoked here, each secret shown once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminTextInputWidget
from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from gateway_project.lib import clock
from gateway_project.lib.secret import Secret
from tenants import key_changes, keys
from tenants.access import Area
from tenants.admin import confirming
from tenants.models import ApiKey, KeySecret
from tenants.scoped_admin import TenantInline, TenantModelAdmin, TenantRelatedFilter


class RevokeForm(forms.Form):
    """What the page that asks for confirmation asks besides."""

    reason = forms.CharField(
        max_length=key_changes.MAX_REASON_LENGTH,
        required=False,
        widget=AdminTextInputWidget,
        help_text="Optional; kept with the key.",
    )


# The secret page takes the place of where these buttons would lead.
ADD_BUTTONS = {"show_save_and_add_another": False, "show_save_and_continue": False}


class StateFilter(admin.SimpleListFilter):
    """By the status column."""

    title = "status"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("active", "Active"), ("expired", "Expired"), ("revoked", "Revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        expired = Q(revoked_at=None, expires_at__lte=clock.now())
        match self.value():
            case "active":
                return queryset.filter(revoked_at=None).exclude(expired)
            case "expired":
                return queryset.filter(expired)
            case "revoked":
                return queryset.exclude(revoked_at=None)
        return queryset


class SecretInline(TenantInline):
    """What is left of a key's secrets: nobody can read, add or change one here."""

    model = KeySecret
    area = Area.KEYS
    fields = ("last_four_shown", "created_at", "expires_at")
    readonly_fields = ("last_four_shown", "created_at", "expires_at")
    verbose_name_plural = "Secrets"
    can_delete = False

    @admin.display(description="Secret")
    def last_four_shown(self, secret: KeySecret) -> str:
        return str(secret)

    def has_add_permission(  # type: ignore[override]  # as TenantInline
        self, request: HttpRequest, obj: Model | None
    ) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(ApiKey)
class ApiKeyAdmin(TenantModelAdmin):
    area = Area.KEYS
    list_display = ("name", "public_id", "tenant", "state", "expires_at", "created_at")
    list_select_related = ("tenant", "created_by")
    list_filter = (StateFilter, "all_aliases", ("tenant", TenantRelatedFilter))
    search_fields = ("name", "public_id", "tenant__name")
    fields = (
        "tenant",
        "name",
        "public_id",
        "scopes",
        "all_aliases",
        "allowed_networks",
        "expires_at",
        "revoked_at",
        "revoked_reason",
        "created_at",
        "maker",
    )
    readonly_fields = ("public_id", "revoked_at", "revoked_reason", "created_at", "maker")
    autocomplete_fields = ("tenant",)
    inlines: ClassVar[tuple[type[TenantInline], ...]] = (SecretInline,)
    actions = ("rotate", "revoke")

    @admin.display(description="Status")
    def state(self, key: ApiKey) -> str:
        if key.revoked_at is not None:
            return "Revoked"
        return (
            "Expired" if key.expires_at is not None and key.expires_at <= clock.now() else "Active"
        )

    @admin.display(description="Created by")
    def maker(self, key: ApiKey) -> str | None:
        """A name without a link: users have no page for tenant staff."""
        return str(key.created_by) if key.created_by is not None else None

    def get_inlines(self, request: HttpRequest, obj: Model | None) -> list[Any]:
        """A key that does not exist yet has no secrets to list."""
        inlines = super().get_inlines(request, obj)
        return [inline for inline in inlines if obj is not None or inline is not SecretInline]

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().add_view(request, form_url, {**(extra_context or {}), **ADD_BUTTONS})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.created_by = request.user
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """The secret, in this very answer: a message would keep it in a cookie or the session."""
        return self._secrets_page(request, [(obj, keys.add_secret(obj))])

    @admin.action(
        permissions=["change"], description="Rotate: a new secret, the old one ends in 24 h"
    )
    def rotate(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        self.refuse_unless("change", request, queryset)
        if not confirming.is_confirmed(request):
            return self._ask(request, queryset, "rotate")
        try:
            issued = self._rotated(request, queryset)
        except keys.KeyRevoked as error:
            self.message_user(request, str(error), messages.ERROR)
            return None
        return self._secrets_page(request, issued)

    @admin.action(permissions=["change"], description="Revoke for good")
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        self.refuse_unless("change", request, queryset)
        form = RevokeForm(request.POST if confirming.is_confirmed(request) else None)
        if not form.is_valid():
            return self._ask(request, queryset, "revoke", form=form)
        count = self._revoked(request, queryset, form.cleaned_data["reason"])
        self.message_user(
            request, "The key is revoked." if count == 1 else f"{count} keys revoked."
        )
        return None

    @transaction.atomic
    def _rotated(
        self, request: HttpRequest, chosen: Iterable[ApiKey]
    ) -> list[tuple[ApiKey, Secret]]:
        issued = [(key, keys.rotate(key)) for key in chosen]
        for key, _ in issued:
            self.log_change(request, key, "Rotated.")
        return issued

    @transaction.atomic
    def _revoked(self, request: HttpRequest, chosen: Iterable[ApiKey], reason: str) -> int:
        listed = list(chosen)  # once: the list may be filtered by what this changes
        for key in listed:
            keys.revoke(key, reason)
            self.log_change(request, key, f"Revoked: {reason}" if reason else "Revoked.")
        return len(listed)

    def _ask(
        self, request: HttpRequest, chosen: QuerySet[ApiKey], action: str, **shown: Any
    ) -> HttpResponse | None:
        template, title = f"admin/tenants/apikey/{action}.html", f"{action.capitalize()} API keys"
        return confirming.ask(self, request, template, list(chosen), title=title, **shown)

    def _secrets_page(
        self, request: HttpRequest, issued: list[tuple[ApiKey, Secret]]
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Copy the secret now",
            "opts": self.opts,
            "issued": [(key, secret.reveal()) for key, secret in issued],
        }
        return TemplateResponse(request, "admin/tenants/apikey/secrets.html", context)
