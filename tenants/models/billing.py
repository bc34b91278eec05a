"""Define periods, invoices and credits. What is finalized never changes; database triggers enforce it."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from gateway_project.lib import clock
from tenants.audit.querysets import RecordedModel
from tenants.models.accounts import Tenant


class BillingPeriod(models.Model):
    """A month of a tenant's time zone, half-open, kept as the instants it was when it was made."""

    class State(models.TextChoices):
        OPEN = "open", _("Open")
        CLOSING = "closing", _("Closing: late usage may still come")
        DRAFT = "draft", _("Draft invoice")
        FINALIZED = "finalized", _("Finalized")

    tenant = models.ForeignKey(Tenant, models.PROTECT, related_name="billing_periods")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    time_zone = models.CharField(max_length=64)
    state = models.CharField(max_length=12, choices=State.choices, default=State.OPEN)
    closed_at = models.DateTimeField(null=True, help_text=_("When the ledger was complete for it."))
    was_complete = models.BooleanField(
        default=False,
        help_text=_("Every spool had been read past its end; otherwise the grace was over."),
    )

    class Meta:
        ordering = ("tenant", "-starts_at")
        constraints = (
            models.UniqueConstraint(fields=("tenant", "starts_at"), name="one_period_per_start"),
            models.CheckConstraint(
                condition=Q(ends_at__gt=models.F("starts_at")), name="period_ends_after_it_starts"
            ),
        )

    def __str__(self) -> str:
        return f"{self.tenant} {self.month}"

    @property
    def month(self) -> str:
        """Return the month as its tenant calls it, by its middle, because a changed zone moves its ends."""
        middle = self.starts_at + timedelta(days=15)
        return f"{middle.astimezone(ZoneInfo(self.time_zone)):%Y-%m}"


class InvoiceSequence(models.Model):
    """The last number given to an invoice of a tenant; raised in the transaction that finalizes one."""

    tenant = models.OneToOneField(Tenant, models.PROTECT, related_name="+")
    last_number = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.last_number)


class Invoice(RecordedModel):
    """An invoice or credit note. Amounts are cents, rounded half-up once a line; totals are sums of lines.

    Tax is of the subtotal (tenants/billing/tax.py).
    """

    class Kind(models.TextChoices):
        INVOICE = "invoice", _("Invoice")
        CREDIT_NOTE = "credit_note", _("Credit note")

    class State(models.TextChoices):
        DRAFT = "draft", _("Draft")
        FINALIZED = "finalized", _("Finalized")

    tenant = models.ForeignKey(Tenant, models.PROTECT, related_name="invoices")
    period = models.ForeignKey(BillingPeriod, models.PROTECT, null=True, related_name="invoices")
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.INVOICE)
    state = models.CharField(max_length=12, choices=State.choices, default=State.DRAFT)
    corrects = models.ForeignKey("self", models.PROTECT, null=True, related_name="credit_notes")
    number = models.PositiveIntegerField(
        null=True, help_text=_("Gap-free per tenant, given when it is finalized.")
    )
    currency = models.CharField(max_length=3, default="USD")
    subtotal_cents = models.BigIntegerField(default=0)
    credit_cents = models.BigIntegerField(default=0, help_text=_("Paid from prepaid credit."))
    tax_basis_points = models.PositiveSmallIntegerField(
        null=True, help_text=_("Hundredths of a percent of the subtotal; empty: no tax is shown.")
    )
    tax_cents = models.BigIntegerField(
        default=0, db_default=0, help_text=_("Of the subtotal, rounded half up, once.")
    )
    total_cents = models.BigIntegerField(
        default=0, help_text=_("To be paid: subtotal and tax, less credit.")
    )
    due_on = models.DateField(null=True, help_text=_("When it is due; credit notes never are."))
    reason = models.CharField(max_length=300, blank=True)
    canonical = models.TextField(
        blank=True, help_text=_("The canonical JSON of the finalized document.")
    )
    sha256 = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(default=clock.now)
    finalized_at = models.DateTimeField(null=True)
    finalized_by = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ("tenant", "-created_at")
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "number"),
                condition=Q(number__isnull=False),
                name="invoice_number_per_tenant",
            ),
            models.UniqueConstraint(
                fields=("period",), condition=Q(kind="invoice"), name="one_invoice_per_period"
            ),
            models.CheckConstraint(
                condition=Q(state="draft", number=None)
                | Q(state="finalized", number__isnull=False),
                name="invoice_is_numbered_when_finalized",
            ),
        )

    def __str__(self) -> str:
        return f"{self.tenant} {self.number or 'draft'}"

    @property
    def gross_cents(self) -> int:
        """Return what it comes to with tax, before credit."""
        return self.subtotal_cents + self.tax_cents


class InvoiceLine(models.Model):
    """One alias and class of the registry (tenants/units.py): `token_class` names the class, `tokens` is its
    quantity. `usage_*` say which usage; `corrects` the line a credit note takes back."""

    class Kind(models.TextChoices):
        USAGE = "usage", _("Usage")
        LATE_USAGE = "late_usage", _("Late usage of an earlier period")
        CREDIT = "credit", _("Credit for an earlier line")

    invoice = models.ForeignKey(Invoice, models.CASCADE, related_name="lines")
    position = models.PositiveIntegerField()
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.USAGE)
    usage_period = models.ForeignKey(BillingPeriod, models.PROTECT, null=True, related_name="+")
    alias = models.CharField(max_length=300, blank=True)
    token_class = models.CharField("class", max_length=24, blank=True)
    description = models.CharField(max_length=400, blank=True)
    tokens = models.BigIntegerField("quantity", default=0)
    amount_nano = models.BigIntegerField(default=0)
    amount_cents = models.BigIntegerField(default=0)
    corrects = models.ForeignKey("self", models.PROTECT, null=True, related_name="+")

    class Meta:
        ordering = ("invoice", "position")
        constraints = (
            models.UniqueConstraint(fields=("invoice", "position"), name="one_line_per_position"),
        )

    def __str__(self) -> str:
        return f"{self.alias} {self.token_class}"


class CreditTransaction(RecordedModel):
    """A movement of a tenant's prepaid credit: entries that add up to nothing. `reference` makes it once."""

    class Kind(models.TextChoices):
        GRANT = "grant", _("Grant")
        SPEND = "spend", _("Spent on an invoice")
        EXPIRE = "expire", _("Expired")
        REFUND = "refund", _("Refund")
        ADJUST = "adjust", _("Adjustment")

    tenant = models.ForeignKey(Tenant, models.PROTECT, related_name="credit_transactions")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    reference = models.CharField(max_length=200)
    grant = models.ForeignKey(
        "self",
        models.PROTECT,
        null=True,
        related_name="uses",
        help_text=_("Of which grant it takes or gives."),
    )
    invoice = models.ForeignKey(
        Invoice, models.PROTECT, null=True, related_name="credit_transactions"
    )
    priority = models.SmallIntegerField(
        default=0, help_text=_("Among grants that expire together, lowest first.")
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=300, blank=True)
    actor = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering = ("tenant", "-created_at", "-id")
        constraints = (
            models.UniqueConstraint(fields=("tenant", "reference"), name="credit_movement_once"),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.reference}"


class CreditEntry(RecordedModel):
    """One side of a movement, in cents: positive is what an account gets."""

    class Account(models.TextChoices):
        CREDIT = "credit", _("The tenant's prepaid credit")
        CASH = "cash", _("Received or paid back")
        REVENUE = "revenue", _("Earned")
        PROMOTION = "promotion", _("Given away")

    transaction = models.ForeignKey(CreditTransaction, models.PROTECT, related_name="entries")
    account = models.CharField(max_length=12, choices=Account.choices)
    amount_cents = models.BigIntegerField()

    class Meta:
        ordering = ("transaction", "id")

    def __str__(self) -> str:
        return f"{self.account} {self.amount_cents}"


class RetentionHorizon(models.Model):
    """Rows of `table` from before this instant may be deleted; the triggers that guard it look here."""

    table = models.CharField(max_length=63, unique=True)
    before = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.table} before {self.before:%Y-%m-%d}"
