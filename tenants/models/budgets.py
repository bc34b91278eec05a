"""Define budgets, their periods and leases. Amounts are nano-dollars.

`spent + reserved <= amount` holds at every instant for a hard budget: a process takes a lease before it
spends, which is reserved, and the ledger turns what was charged from reserved into spent.
"""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gateway_project.lib import clock
from tenants import local_time, validators
from tenants.models.accounts import ApiKey, Tenant
from tenants.revision import RevisionedModel


def default_thresholds() -> list[int]:
    return [50, 80, 100]


class Budget(RevisionedModel):
    """An amount per period, of a whole tenant or of one of its keys."""

    class Period(models.TextChoices):
        DAILY = "daily", _("Every day")
        WEEKLY = "weekly", _("Every week, from Monday")
        MONTHLY = "monthly", _("Every month")
        TOTAL = "total", _("Once, for ever")

    class Mode(models.TextChoices):
        HARD = "hard", _("Refuse calls it cannot cover")
        WARN = "warn", _("Only warn when it is exceeded")

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="budgets")
    api_key = models.ForeignKey(
        ApiKey,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="budgets",
        verbose_name=_("API key"),
        help_text=_("Empty: all keys of the tenant together."),
    )
    name = models.CharField(max_length=200)
    amount_nano = models.BigIntegerField(
        validators=[MinValueValidator(0)],
        help_text=_("In nano-dollars: $1.00 is 1000000000."),
    )
    period = models.CharField(max_length=8, choices=Period.choices, default=Period.MONTHLY)
    mode = models.CharField(max_length=8, choices=Mode.choices, default=Mode.HARD)
    counts_list_price = models.BooleanField(
        "count list prices",
        default=False,
        db_default=False,
        help_text=_(
            "Calls with the tenant's own credential at a provider of the platform count at the model's "
            "price in the cost book, instead of at the fee for them. What a budget counts is chosen once: "
            "make another budget to change it."
        ),
    )
    thresholds = models.JSONField(
        default=default_thresholds,
        blank=True,
        validators=[validators.validate_thresholds],
        help_text=_(
            "Percentages of the amount at which alerts are sent, for example [50, 80, 100]."
        ),
    )
    alert_emails = models.JSONField(
        default=list,
        blank=True,
        validators=[validators.validate_emails],
        help_text=_('Who gets alerts by e-mail, for example ["finance@example.com"].'),
    )
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering = ("tenant", "name")
        constraints = (
            models.CheckConstraint(condition=Q(amount_nano__gte=0), name="budget_is_not_negative"),
        )

    def clean(self) -> None:
        if self.api_key is not None and self.api_key.tenant_id != self.tenant_id:
            raise ValidationError({"api_key": gettext("Choose a key of the same tenant.")})
        if not self._state.adding:
            self._check_count()

    def _check_count(self) -> None:
        """Refuse to change what a budget counts: its period would mix fees and list prices, and
        corrections could not be attributed.
        """
        others = Budget.objects.filter(pk=self.pk, counts_list_price=not self.counts_list_price)
        if others.exists():
            message = "What a budget counts is chosen once; make another budget to change it."
            raise ValidationError({"counts_list_price": message})

    def __str__(self) -> str:
        return self.name


class BudgetWindow(models.Model):
    """One period of a budget, made when it is first drawn on; `ends_at` is empty for a total."""

    budget = models.ForeignKey(Budget, models.CASCADE, related_name="windows")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    spent_nano = models.BigIntegerField(default=0)
    reserved_nano = models.BigIntegerField(default=0)

    class Meta:
        ordering = ("budget", "-starts_at")
        constraints = (
            models.UniqueConstraint(fields=("budget", "starts_at"), name="one_window_per_start"),
            models.CheckConstraint(
                condition=Q(reserved_nano__gte=0), name="reserved_is_not_negative"
            ),
        )

    def __str__(self) -> str:
        return f"{self.budget}, {self.period_name}"

    @property
    def period_name(self) -> str:
        """Return the period as people of the tenant's zone call it, such as October 2026."""
        if self.ends_at is None:
            return "once for ever"
        zone = self.budget.tenant.time_zone
        return local_time.period(self.budget.period, self.starts_at, self.ends_at, zone)


class BudgetLease(models.Model):
    """The part of a window reserved for one process.

    `spool` names the process's spool: when it is dead and its spool is read to the end, what was not
    charged goes back.
    """

    window = models.ForeignKey(BudgetWindow, models.CASCADE, related_name="leases")
    spool = models.CharField(max_length=200)
    granted_nano = models.BigIntegerField(default=0)
    charged_nano = models.BigIntegerField(default=0)

    class Meta:
        ordering = ("window", "spool")
        constraints = (
            models.UniqueConstraint(fields=("window", "spool"), name="one_lease_per_spool"),
            models.CheckConstraint(
                condition=Q(charged_nano__gte=0, granted_nano__gte=F("charged_nano")),
                name="lease_pays_for_what_it_is_charged",
            ),
        )

    def __str__(self) -> str:
        return f"{self.spool}: {self.granted_nano - self.charged_nano}"


class BudgetAlert(models.Model):
    """A threshold that was reached, once per window; `sent_at` is set when everybody was told."""

    window = models.ForeignKey(BudgetWindow, models.CASCADE, related_name="alerts")
    percent = models.PositiveIntegerField()
    spent_nano = models.BigIntegerField()
    reached_at = models.DateTimeField(default=clock.now)
    sent_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-reached_at",)
        constraints = (
            models.UniqueConstraint(fields=("window", "percent"), name="one_alert_per_threshold"),
        )

    def __str__(self) -> str:
        return f"{self.window}: {self.percent} %"
