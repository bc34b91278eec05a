"""Define rate limits of tenants and keys."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from tenants import units
from tenants.models.accounts import ApiKey, Tenant
from tenants.revision import RevisionedModel


def metrics() -> list[tuple[str, str | Promise]]:
    """List what a limit can be of, for a form: also every unit other than tokens (tenants/units.py)."""
    counted = RateLimit.Metric.choices
    beside = (u for u in units.beside_tokens() if u.name not in units.COUNTED_BY_CALL)
    return [*counted, *((unit.name, _(unit.label)) for unit in beside)]


class RateLimit(RevisionedModel):
    """At most `amount` requests, tokens or other units per window, or concurrent calls, of a whole tenant
    or one of its keys.

    A key's own limit of a metric and window replaces the default for keys.
    """

    class Metric(models.TextChoices):
        REQUESTS = "requests", _("Requests")
        TOKENS = "tokens", _("Tokens")
        CONCURRENCY = "concurrency", _("Concurrent calls")

    class Window(models.TextChoices):
        MINUTE = "minute", _("per minute")
        HOUR = "hour", _("per hour")
        DAY = "day", _("per day")
        NONE = "", _("at any instant (concurrent calls)")

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="rate_limits")
    api_key = models.ForeignKey(
        ApiKey,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="rate_limits",
        verbose_name=_("API key"),
        help_text=_("Empty: all keys of the tenant together."),
    )
    metric = models.CharField(max_length=16, choices=metrics)
    window = models.CharField(max_length=8, choices=Window.choices, blank=True)
    amount = models.PositiveBigIntegerField(validators=[MinValueValidator(1)])

    class Meta:
        ordering = ("tenant", "api_key", "metric", "window")
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "api_key", "metric", "window"),
                name="one_limit_per_key_metric_and_window",
                violation_error_message="There is already a limit of this kind.",
            ),
            models.UniqueConstraint(
                fields=("tenant", "metric", "window"),
                condition=Q(api_key=None),
                name="one_limit_per_tenant_metric_and_window",
                violation_error_message="There is already a limit of this kind.",
            ),
            models.CheckConstraint(
                condition=Q(metric="concurrency", window="")
                | (~Q(metric="concurrency") & ~Q(window="")),
                name="limit_window_fits_its_metric",
                violation_error_message="Requests and tokens have a window; concurrent calls do not.",
            ),
        )

    def clean(self) -> None:
        if self.api_key is not None and self.api_key.tenant_id != self.tenant_id:
            raise ValidationError({"api_key": gettext("Choose a key of the same tenant.")})

    def __str__(self) -> str:
        if not self.window:
            return gettext("%(amount)s concurrent calls") % {"amount": self.amount}
        if self.metric not in units.COUNTED_BY_CALL:
            unit = units.of(self.metric)
            return f"{unit.shown(self.amount)} {gettext(unit.label)} {self.get_window_display()}"
        words = {"requests": gettext("requests"), "tokens": gettext("tokens")}
        return f"{self.amount} {words[self.metric]} {self.get_window_display()}"
