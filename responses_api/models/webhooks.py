"""Define the endpoints that are told of the end of responses, and what is delivered to them."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gateway_project.lib import clock, ids
from responses_api import validators
from responses_api.models.owned import TenantOwned
from tenants.audit.querysets import RecordedModel


class WebhookEndpoint(TenantOwned, RecordedModel):
    """A tenant's URL that is told of events, such as the end of a background response.

    Its secret is sealed for this very row (webhooks/endpoints.py) and shown once. After a rotation the old
    secret goes on signing beside the new one for a while.
    """

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    url = models.CharField(
        "URL",
        max_length=500,
        validators=[validators.validate_webhook_url],
        help_text=_("For example https://example.com/webhooks."),
    )
    events = models.JSONField(
        default=list,
        blank=True,
        validators=[validators.validate_webhook_events],
        help_text=_("Empty means all events."),
    )
    sealed_secret = models.TextField(editable=False)
    sealed_old_secret = models.TextField(blank=True, editable=False)
    old_secret_until = models.DateTimeField(null=True, blank=True, editable=False)
    allow_private_network = models.BooleanField(
        default=False,
        help_text=_("Allow a private or loopback address. Only operators may change this."),
    )
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering = ("tenant", "url")
        constraints = (
            models.CheckConstraint(
                condition=Q(sealed_secret__startswith="v1."), name="webhook_secret_is_sealed"
            ),
            models.CheckConstraint(
                condition=Q(sealed_old_secret="") | Q(sealed_old_secret__startswith="v1."),
                name="webhook_old_secret_is_sealed",
            ),
        )

    def __str__(self) -> str:
        return self.url

    def clean(self) -> None:
        if not self.allow_private_network and not self.url.lower().startswith("https://"):
            raise ValidationError({"url": gettext("The address must begin with https://.")})


class WebhookDelivery(TenantOwned):
    """One event on its way to one endpoint, and its result so far."""

    class State(models.TextChoices):
        PENDING = "pending", _("Pending")
        DELIVERED = "delivered", _("Delivered")
        GIVEN_UP = "given_up", _("Given up")

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    endpoint = models.ForeignKey(WebhookEndpoint, models.CASCADE, related_name="deliveries")
    event_id = models.CharField(max_length=64)
    event_type = models.CharField(max_length=64)
    response_id = models.CharField(max_length=64)
    payload = models.BinaryField()
    state = models.CharField(max_length=16, choices=State.choices, default=State.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=clock.now)
    last_status = models.PositiveSmallIntegerField(null=True, blank=True)
    last_error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)  # the order in which they were made
        verbose_name_plural = _("webhook deliveries")
        constraints = (
            models.UniqueConstraint(fields=("endpoint", "event_id"), name="webhook_once_per_event"),
        )
        indexes = (
            models.Index(
                fields=("next_attempt_at",), name="webhook_pending", condition=Q(state="pending")
            ),
            # Few: what the console tells of as needing somebody.
            models.Index(
                fields=("created_at", "tenant"),
                name="webhook_given_up",
                condition=Q(state="given_up"),
            ),
            models.Index(fields=("tenant", "id"), name="webhook_newest_of_tenant"),
            models.Index(fields=("endpoint", "id"), name="webhook_newest_of_endpoint"),
        )

    def __str__(self) -> str:
        return f"{self.event_type} → {self.endpoint.url}"
