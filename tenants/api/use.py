"""Serve what was used and what it costs: usage, its sums, billing periods, invoices, credit."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db.models import OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import Http404, HttpResponse
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.lib import actor, errors
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.api.accounts import text_of
from tenants.api.base import access_of, body_of
from tenants.api.rows import PlainSerializer, Rows, RowSerializer
from tenants.audit import events
from tenants.billing import documents, invoices, periods
from tenants.ledger import row_ids
from tenants.managed.tables import (
    BILLING_DETAILS,
    CREDITS,
    INVOICES,
    PERIODS,
    USAGE_DAYS,
    USAGE_HOURS,
    USAGE_ROWS,
)
from tenants.models import (
    BillingDetails,
    BillingPeriod,
    CreditEntry,
    CreditTransaction,
    Invoice,
    InvoiceLine,
    UsageDay,
    UsageHour,
    UsageRow,
)
from tenants.reports import billing as reports


class UsageRowSerializer(RowSerializer):
    request_id = serializers.SerializerMethodField(help_text="The id of the request, req_….")

    class Meta:
        model = UsageRow
        fields = ("request_id", *(field.name for field in UsageRow._meta.concrete_fields))

    def get_request_id(self, row: UsageRow) -> str:
        return row_ids.request_id_of(row.pk)


class UsageRows(Rows):
    resource, about = USAGE_ROWS, "calls in the ledger"
    serializer_class = UsageRowSerializer
    order = ("-opened_at", "-pk")
    filters: ClassVar[dict[str, str]] = {
        "tenant": "tenant",
        "since": "opened_at__gte",
        "until": "opened_at__lt",
    }


SUMMED = (
    "id",
    *UsageHour.SUBJECT,
    "requests",
    "calls",
    "failed",
    "estimated",
    "unpriced",
    "hits",
    "input_fresh",
    "input_audio",
    "cache_read",
    "cache_write",
    "cache_write_long",
    "output_visible",
    "output_audio",
    "output_reasoning",
    "units",
    "cost_nano",
    "charge_nano",
    "unfunded_nano",
    "saved_nano",
)


class HourSerializer(RowSerializer):
    class Meta:
        model = UsageHour
        fields = SUMMED


class DaySerializer(RowSerializer):
    class Meta:
        model = UsageDay
        fields = SUMMED


BY_TIME = {"tenant": "tenant", "since": "starts_at__gte", "until": "starts_at__lt"}


class HourRows(Rows):
    resource, about = USAGE_HOURS, "usage by hour"
    serializer_class = HourSerializer
    order = ("-starts_at", "-pk")
    filters = BY_TIME


class DayRows(Rows):
    resource, about = USAGE_DAYS, "usage by day"
    serializer_class = DaySerializer
    order = ("-starts_at", "-pk")
    filters = BY_TIME


class PeriodSerializer(RowSerializer):
    month = serializers.CharField(read_only=True)

    class Meta:
        model = BillingPeriod
        fields = (
            "id", "tenant", "month", "starts_at", "ends_at", "time_zone", "state", "closed_at",
            "was_complete",
        )  # fmt: skip


class PeriodUsageSerializer(serializers.Serializer[Any]):
    """The use of a billing period so far."""

    calls = serializers.IntegerField(help_text="Upstream calls.")
    charge_nano = serializers.IntegerField(help_text="Nano-dollars.")
    is_over = serializers.BooleanField()
    is_complete = serializers.BooleanField(
        help_text="Whether every call that was opened in it is in the ledger."
    )


class ClosingSerializer(serializers.Serializer[Any]):
    force = serializers.BooleanField(
        required=False,
        help_text="Close it although usage may still arrive; that is billed with the next month.",
    )


class PeriodRows(Rows):
    resource, about = PERIODS, "billing periods"
    serializer_class = PeriodSerializer
    filters: ClassVar[dict[str, str]] = {"tenant": "tenant"}
    further: ClassVar[dict[str, str]] = {"usage": "get", "close": "post"}
    bodies: ClassVar[dict[str, Any]] = {"close": ClosingSerializer}
    results: ClassVar[dict[str, Any]] = {"usage": PeriodUsageSerializer}

    def usage(self, request: Request, key: str) -> Response:
        """Tell how many calls a period has so far, and their charge."""
        return Response(period_usage(self.row(request, key)))

    def close(self, request: Request, key: str) -> Response:
        """Close a month that is over: it becomes a draft invoice. Only operators may."""
        period = self.row(request, key)
        _refuse_unless_operator(request, "close months")
        force = body_of(request, ("force",)).get("force", False)
        if not isinstance(force, bool):
            raise ValidationError({"force": "Write true or false."})
        if period.state not in {BillingPeriod.State.OPEN, BillingPeriod.State.CLOSING}:
            raise errors.Conflict("The period is closed already.")
        periods.close(period, force=force)
        return self.answer(self.row(request, key), request)


def period_usage(period: BillingPeriod) -> dict[str, Any]:
    """Return how many calls a period has so far, and their charge."""
    return dict(PeriodUsageSerializer(reports.usage_of([period])[period.pk]).data)


def _refuse_unless_operator(request: Request, what: str) -> None:
    if (Area.BILLING, "change") not in access_of(request).platform:
        raise errors.PermissionDenied(f"Only operators of the platform {what}.")


class InvoiceLineSerializer(PlainSerializer):
    class Meta:
        model = InvoiceLine
        fields = (
            "position", "kind", "alias", "token_class", "description", "tokens", "amount_nano",
            "amount_cents",
        )  # fmt: skip


class InvoiceSerializer(RowSerializer):
    gross_cents = serializers.IntegerField(read_only=True, help_text="Subtotal and tax.")
    lines = InvoiceLineSerializer(many=True, read_only=True)

    class Meta:
        model = Invoice
        fields = (
            "id", "tenant", "period", "kind", "state", "corrects", "number", "currency",
            "subtotal_cents", "tax_basis_points", "tax_cents", "gross_cents", "credit_cents",
            "total_cents", "due_on", "reason", "sha256", "created_at", "finalized_at",
            "finalized_by", "lines",
        )  # fmt: skip


class BillingDetailsSerializer(RowSerializer):
    class Meta:
        model = BillingDetails
        fields = ("id", *BILLING_DETAILS.fields)
        read_only_fields = ("id",)


class BillingDetailsRows(Rows):
    resource, about = BILLING_DETAILS, "billing details"
    serializer_class = BillingDetailsSerializer
    filters: ClassVar[dict[str, str]] = {"tenant": "tenant"}


class CreditedLineSerializer(serializers.Serializer[Any]):
    position = serializers.IntegerField(help_text="Of the invoice's line.")
    amount_cents = serializers.IntegerField(help_text="At most what is left of the line.")


class CreditNoteSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=300)
    lines = CreditedLineSerializer(many=True)


class InvoiceRows(Rows):
    resource, about = INVOICES, "invoices"
    serializer_class = InvoiceSerializer
    filters: ClassVar[dict[str, str]] = {"tenant": "tenant", "period": "period"}
    left_out = ("lines",)
    further: ClassVar[dict[str, str]] = {
        "finalize": "post",
        "credit-note": "post",
        "pdf": "get",
        "html": "get",
        "csv": "get",
        "json": "get",
    }
    bodies: ClassVar[dict[str, Any]] = {"credit_note": CreditNoteSerializer}
    files: ClassVar[dict[str, str]] = {
        "pdf": "application/pdf",
        "html": "text/html",
        "csv": "text/csv",
        "json": "application/json",
    }

    def seen(self, who: Access) -> QuerySet[Any]:
        return super().seen(who).defer("canonical")

    def pdf(self, request: Request, key: str) -> HttpResponse:
        """Get the finalized invoice as PDF."""
        invoice = self._finalized(request, key, "pdf")
        name = documents.file_name(invoice, "pdf")
        return HttpResponse(
            documents.pdf(invoice.canonical),
            content_type=self.files["pdf"],
            headers={"content-disposition": f'attachment; filename="{name}"'},
        )

    def csv(self, request: Request, key: str) -> HttpResponse:
        """Get the lines of the finalized invoice as CSV."""
        invoice = self._finalized(request, key, "csv")
        return HttpResponse(documents.csv(invoice.canonical), content_type=self.files["csv"])

    def html(self, request: Request, key: str) -> HttpResponse:
        """Get the finalized invoice as HTML."""
        invoice = self._finalized(request, key, "html")
        return HttpResponse(documents.html(invoice.canonical), content_type=self.files["html"])

    def json(self, request: Request, key: str) -> HttpResponse:
        """Get the document of the finalized invoice, of which `sha256` is the hash."""
        invoice = self._finalized(request, key, "json")
        return HttpResponse(invoice.canonical, content_type=self.files["json"])

    def _finalized(self, request: Request, key: str, kind: str) -> Invoice:
        """Return an invoice that has a document, and record who takes it. A draft has none."""
        invoice: Invoice = self.row(request, key)
        if invoice.state != Invoice.State.FINALIZED:
            raise Http404
        events.record(
            "invoice.exported", tenant_id=invoice.tenant_id, row=invoice, details={"as": kind}
        )
        return invoice

    def finalize(self, request: Request, key: str) -> Response:
        """Give a draft its number, pay it from credit and close it. Only operators may."""
        row = self.row(request, key)
        _refuse_unless_operator(request, "finalize invoices")
        body_of(request, ())
        if row.state != Invoice.State.DRAFT:
            raise errors.Conflict("The invoice is finalized already.")
        invoices.finalize(row.pk, actor.current().name[:200])
        return self.answer(self.row(request, key), request)

    def credit_note(self, request: Request, key: str) -> Response:
        """Take back cents of lines of a finalized invoice by a credit note. Only operators may."""
        row = self.row(request, key)
        _refuse_unless_operator(request, "write credit notes")
        body = body_of(request, ("reason", "lines"))
        amounts = invoices.lines_to_credit(row, body.get("lines"))
        reason = text_of("reason", body.get("reason"))[:300]
        note = invoices.credit_note(row.pk, amounts, reason, actor.current().name[:200])
        return self.answer(self.row(request, str(note.pk)), request, status=201)


class CreditSerializer(RowSerializer):
    amount_cents = serializers.IntegerField(
        source="credit_cents", help_text="More than 0 for a grant; what is spent is negative."
    )
    is_paid = serializers.BooleanField(
        write_only=True, required=False, help_text="Whether the tenant bought it."
    )

    class Meta:
        model = CreditTransaction
        fields = (
            "id", "tenant", "kind", "amount_cents", "is_paid", "reference", "grant", "invoice",
            "priority", "expires_at", "reason", "actor", "created_at",
        )  # fmt: skip
        read_only_fields = ("id", "kind", "grant", "invoice", "actor", "created_at")


class CreditRows(Rows):
    resource, about = CREDITS, "movements of prepaid credit"
    serializer_class = CreditSerializer
    filters: ClassVar[dict[str, str]] = {"tenant": "tenant", "reference": "reference"}

    def _rows(self) -> QuerySet[Any]:
        # Of each row by itself: a join would add up the whole table for a page of it.
        entries = CreditEntry.objects.filter(
            transaction=OuterRef("pk"), account=CreditEntry.Account.CREDIT
        )
        sums = entries.order_by().values("transaction").annotate(total=Sum("amount_cents"))
        amount = Coalesce(Subquery(sums.values("total")), 0)
        rows: QuerySet[Any] = super()._rows().annotate(credit_cents=amount)
        return rows
