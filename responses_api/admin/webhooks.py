"""Console pages of webhook endpoints, whose secrets are shown once, and of the log of their deliveries."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway_project.lib.secret import Secret
from responses_api.admin.browsing import format_body
from responses_api.admin.kept_words import delivery_words
from responses_api.models import WebhookDelivery, WebhookEndpoint
from responses_api.reports.deliveries import recent_of
from responses_api.validators import WEBHOOK_EVENTS
from responses_api.webhooks import delivery, endpoints, trying
from responses_api.webhooks.managed import DELIVERIES, ENDPOINTS
from tenants.access.rights import Right
from tenants.admin import confirming
from tenants.admin.browsing import BrowsingAdmin, LightDeletion
from tenants.audit import events as audit_events
from tenants.console import drawing
from tenants.console.actions import console_action
from tenants.console.scope import carried, zone_of
from tenants.console.scoped_admin import TenantRelatedFilter, access
from tenants.console.scoped_forms import TenantForm
from tenants.console.shown_once import ShownOnce, show_once
from tenants.theme import Checkboxes

# The page with the secret replaces the pages these buttons lead to.
ADD_BUTTONS = {"show_save_and_add_another": False, "show_save_and_continue": False}


def is_enabled(row: WebhookEndpoint) -> bool:
    return row.enabled


class EndpointForm(TenantForm):
    events = forms.MultipleChoiceField(
        label=gettext_lazy("Events"),
        choices=[(name, name) for name in WEBHOOK_EVENTS],
        required=False,
        widget=Checkboxes,
        help_text=gettext_lazy("Choose none to receive all events."),
    )


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(LightDeletion):
    when_empty = gettext_lazy(
        "An endpoint is told what happens: a response that ended, a budget that fills."
    )
    resource = ENDPOINTS
    proof_for = frozenset({"add"})  # it shows a secret, as rotating does
    form = EndpointForm
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

    @admin.display(description=gettext_lazy("Events"))
    def events_shown(self, endpoint: WebhookEndpoint) -> str:
        return ", ".join(endpoint.events) or "All"

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
        secret, *_ = endpoints.signing_secrets(obj)
        return self._secret_page(request, obj, secret)

    @console_action(
        gettext_lazy("Send test event"),
        right="change",
        asks=gettext_lazy(
            "The endpoint gets one event of the type webhook.test, signed like every other, and has 10 "
            "seconds to take it."
        ),
        shown_for=is_enabled,
    )
    def send_test(self, request: HttpRequest, row: WebhookEndpoint) -> None:
        sent = trying.try_endpoint(row)
        if sent.state == WebhookDelivery.State.DELIVERED:
            text = _("The endpoint took the test event: it answered %(status)s.")
            self.message_user(request, text % {"status": sent.last_status}, messages.SUCCESS)
        else:
            text = _("The endpoint did not take the test event. %(error)s")
            self.message_user(request, text % {"error": sent.last_error}, messages.ERROR)

    @console_action(
        gettext_lazy("Rotate secret"),
        right="change",
        asks=gettext_lazy(
            "The endpoint gets a new secret, shown once on the next page. For 24 hours every webhook "
            "carries a signature of the old secret as well."
        ),
        is_proven=True,
    )
    def rotate(self, request: HttpRequest, row: WebhookEndpoint) -> HttpResponse:
        with transaction.atomic():
            secret = endpoints.rotate(row)
            self.log_change(request, row, "Secret rotated.")
        return self._secret_page(request, row, secret)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        shown = {} if row is None else _dots_of(row, request)
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **shown})

    def _secret_page(
        self, request: HttpRequest, row: WebhookEndpoint, secret: Secret
    ) -> HttpResponse:
        with transaction.atomic():
            audit_events.record("webhook_endpoint.secret_shown", tenant_id=row.tenant_id, row=row)
        return show_once(
            self,
            request,
            [ShownOnce(row, secret.reveal())],
            title=_("Copy the secret now"),
            kind=_("Secret"),
            warning=_("It is not shown again. Do not reload this page."),
        )


def has_ended(row: WebhookDelivery) -> bool:
    return row.state != WebhookDelivery.State.PENDING


def _dots_of(row: WebhookEndpoint, request: HttpRequest) -> dict[str, Any]:
    """Return the dots of an endpoint's page, and where all its deliveries are."""
    zone = zone_of(request)
    query = carried(request)
    dots = [
        {
            **delivery_words(each.state),
            "text": _("%(event)s, %(at)s: %(state)s, attempts: %(attempts)s%(http)s")
            % {
                "event": each.event_type,
                "at": drawing.instant(each.at, zone),
                "state": delivery_words(each.state)["label"],
                "attempts": each.attempts,
                "http": f", HTTP {each.last_status}" if each.last_status else "",
            },
            "address": f"{reverse('admin:responses_api_webhookdelivery_change', args=[each.id])}{query}",
        }
        for each in recent_of(row)
    ]
    every = f"{reverse('admin:deliveries')}?tenant={row.tenant.slug}&endpoint={row.pk}"
    return {"dots": dots, "deliveries": every}


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(BrowsingAdmin):
    resource = DELIVERIES
    bodies = ("payload",)
    when_empty = gettext_lazy(
        "An endpoint is told of each event that it asked for; its page sends a test event."
    )
    list_display = (
        "event_shown",
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
    search_help_text = gettext_lazy("The id of a response or of an event.")
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

    @admin.display(description=gettext_lazy("Event"))
    def event_shown(self, row: WebhookDelivery) -> SafeString:
        return format_html(
            '<span>{} <span class="tg-below">{}</span></span>', row.event_type, row.response_id
        )

    @admin.display(description=gettext_lazy("Event"))
    def event(self, row: WebhookDelivery) -> SafeString:
        return format_body(row.payload)

    def may(self, right: Right, request: HttpRequest, row: Any) -> bool:
        """Let those send again who may change endpoints; nobody changes the log itself."""
        if right != "change":
            return super().may(right, request, row)
        who = access(request)
        is_asked_of_any = row is None
        return (
            who.may_somewhere("change", self.area)
            if is_asked_of_any
            else who.may("change", self.area, row.tenant_id)
        )

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @console_action(gettext_lazy("Send again"), right="change", shown_for=has_ended)
    def send_once_more(self, request: HttpRequest, row: WebhookDelivery) -> str:
        if not delivery.send_again(WebhookDelivery.objects.filter(pk=row.pk)):
            raise ValidationError(_("The delivery has not ended yet."))
        self.log_change(request, row, "Sent again.")
        return _("The delivery is on its way again.")

    def has_send_permission(self, request: HttpRequest) -> bool:
        return access(request).may_somewhere("change", self.area)

    @admin.action(permissions=["send"], description=gettext_lazy("Send again"))
    def send_again(
        self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]
    ) -> HttpResponse | None:
        chosen, who = list(queryset), access(request)
        if not all(who.may("change", self.area, row.tenant_id) for row in chosen):
            raise PermissionDenied
        if len(chosen) > 1 and not confirming.is_confirmed(request):
            template = "admin/responses_api/webhookdelivery/send_again.html"
            return confirming.ask(self, request, template, chosen, title=_("Send webhooks again"))
        for row in chosen:
            self.log_change(request, row, "Sent again.")
        count = delivery.send_again(queryset)
        self.message_user(
            request,
            _(
                "%(count)s of the chosen deliveries will be sent again; the others "
                "have not ended yet."
            )
            % {"count": count},
        )
        return None
