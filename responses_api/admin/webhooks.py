"""The pages on webhook endpoints, whose secrets are shown once, and on the log of their deliveries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString

from gateway_project.lib.secret import Secret
from responses_api.admin.browsing import shown
from responses_api.models import WebhookDelivery, WebhookEndpoint
from responses_api.validators import WEBHOOK_EVENTS
from responses_api.webhooks import delivery, endpoints
from tenants.access import Area
from tenants.admin import confirming
from tenants.admin.browsing import BrowsingAdmin, LightDeletion
from tenants.scoped_admin import TenantRelatedFilter, access
from tenants.scoped_forms import TenantForm

# The secret page takes the place of where these buttons would lead.
ADD_BUTTONS = {"show_save_and_add_another": False, "show_save_and_continue": False}


class EndpointForm(TenantForm):
    events = forms.MultipleChoiceField(
        choices=[(name, name) for name in WEBHOOK_EVENTS],
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None chosen: all of them.",
    )


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(LightDeletion):
    area = Area.WEBHOOKS
    form = EndpointForm
    # Whoever may set this reaches the operator's own network.
    operator_fields = ("allow_private_network",)
    list_display = ("url", "tenant", "events_shown", "enabled", "created_at")
    list_select_related = ("tenant",)
    list_filter = ("enabled", ("tenant", TenantRelatedFilter))
    search_fields = ("url",)
    fields = (
        "tenant",
        "url",
        "events",
        "allow_private_network",
        "enabled",
        "old_secret_until",
        "created_at",
    )
    readonly_fields = ("old_secret_until", "created_at")
    autocomplete_fields = ("tenant",)
    actions = ("rotate",)

    @admin.display(description="Events")
    def events_shown(self, endpoint: WebhookEndpoint) -> str:
        return ", ".join(endpoint.events) or "All"

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        """An operator let this one address into their network, not another one there."""
        is_let_in = isinstance(obj, WebhookEndpoint) and obj.allow_private_network
        held = ["url"] if is_let_in and not access(request).is_operator else []
        return [*super().get_readonly_fields(request, obj), *held]

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().add_view(request, form_url, {**(extra_context or {}), **ADD_BUTTONS})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            endpoints.give_secret(obj)
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: WebhookEndpoint, post_url_continue: str | None = None
    ) -> HttpResponse:
        """The secret, in this very answer: a message would keep it in a cookie or the session."""
        secret, *_ = endpoints.signing_secrets(obj)
        return self._secrets_page(request, [(obj, secret)])

    @admin.action(
        permissions=["change"], description="Rotate: a new secret, the old one signs for 24 h more"
    )
    def rotate(
        self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]
    ) -> HttpResponse | None:
        self.refuse_unless("change", request, queryset)
        if not confirming.is_confirmed(request):
            template = "admin/responses_api/webhookendpoint/rotate.html"
            title = "Rotate secrets of webhook endpoints"
            return confirming.ask(self, request, template, list(queryset), title=title)
        return self._secrets_page(request, self._rotated(request, queryset))

    @transaction.atomic
    def _rotated(
        self, request: HttpRequest, chosen: Iterable[WebhookEndpoint]
    ) -> list[tuple[WebhookEndpoint, Secret]]:
        issued = [(endpoint, endpoints.rotate(endpoint)) for endpoint in chosen]
        for endpoint, _ in issued:
            self.log_change(request, endpoint, "Secret rotated.")
        return issued

    def _secrets_page(
        self, request: HttpRequest, issued: list[tuple[WebhookEndpoint, Secret]]
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Copy the secret now",
            "opts": self.opts,
            "issued": [(endpoint, secret.reveal()) for endpoint, secret in issued],
        }
        page = "admin/responses_api/webhookendpoint/secrets.html"
        return TemplateResponse(request, page, context)


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(BrowsingAdmin):
    area = Area.WEBHOOKS
    bodies = ("payload",)
    list_display = (
        "event_type",
        "response_id",
        "endpoint",
        "tenant",
        "state",
        "attempts",
        "last_status",
        "created_at",
    )
    list_select_related = ("tenant", "endpoint")
    list_filter = (
        "state",
        "event_type",
        ("endpoint", TenantRelatedFilter),
        ("tenant", TenantRelatedFilter),
    )
    sortable_by = ()
    search_fields = ("response_id__exact", "event_id__exact")
    search_help_text = "The id of a response or of an event."
    fields = (
        "id",
        "tenant",
        "endpoint",
        "event_id",
        "event_type",
        "response_id",
        "state",
        "attempts",
        "last_status",
        "last_error",
        "next_attempt_at",
        "created_at",
        "ended_at",
        "event",
    )
    readonly_fields = ("event",)
    actions = ("send_again",)

    @admin.display
    def event(self, row: WebhookDelivery) -> SafeString:
        return shown(row.payload)

    def has_send_permission(self, request: HttpRequest) -> bool:
        return access(request).may_somewhere("change", self.area)

    @admin.action(permissions=["send"], description="Send again")
    def send_again(
        self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]
    ) -> HttpResponse | None:
        chosen, who = list(queryset), access(request)
        if not all(who.may("change", self.area, row.tenant_id) for row in chosen):
            raise PermissionDenied
        if len(chosen) > 1 and not confirming.is_confirmed(request):
            template = "admin/responses_api/webhookdelivery/send_again.html"
            return confirming.ask(self, request, template, chosen, title="Send webhooks again")
        for row in chosen:
            self.log_change(request, row, "Sent again.")
        count = delivery.send_again(queryset)
        self.message_user(
            request,
            f"{count} of those chosen are on their way again; the others have not ended yet.",
        )
        return None
