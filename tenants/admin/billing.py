"""The pages on periods, invoices and prepaid credit; operators finalize and grant there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, QuerySet, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from tenants import local_time
from tenants.access import Area, Right
from tenants.admin import confirming
from tenants.admin.browsing import BrowsingAdmin
from tenants.billing import credits as prepaid
from tenants.billing import documents, invoices
from tenants.billing.money import dollars, exact_dollars, parsed_cents
from tenants.models import BillingPeriod, CreditTransaction, Invoice, InvoiceLine
from tenants.scoped_admin import TenantInline, TenantRelatedFilter, access
from tenants.scoped_forms import TenantForm


@admin.register(BillingPeriod)
class BillingPeriodAdmin(BrowsingAdmin):
    area = Area.BILLING
    list_display = ("month", "tenant", "begins", "ends", "time_zone", "state", "was_complete")
    list_filter = ("state", ("tenant", TenantRelatedFilter))
    sortable_by = ("begins",)
    ordering = ("-starts_at", "tenant")
    fields = ("tenant", "begins", "ends", "time_zone", "state", "closed_at", "was_complete")
    readonly_fields = ("begins", "ends")

    @admin.display
    def month(self, period: BillingPeriod) -> str:
        return period.month

    @admin.display(description="Begins (local)", ordering="starts_at")
    def begins(self, period: BillingPeriod) -> str:
        return local_time.minute(period.starts_at, period.time_zone)

    @admin.display(description="Ends (local)")
    def ends(self, period: BillingPeriod) -> str:
        return local_time.minute(period.ends_at, period.time_zone)


class InvoiceLineInline(TenantInline):
    model = InvoiceLine
    area = Area.BILLING
    fk_name = "invoice"
    fields = (
        "position",
        "kind",
        "alias",
        "token_class",
        "description",
        "tokens",
        "exact",
        "amount",
    )
    readonly_fields = ("exact", "amount")
    can_delete = False

    def may(self, right: Right, request: HttpRequest, row: Model | None) -> bool:
        return right == "view" and super().may(right, request, row)

    @admin.display(description="Exact, USD")
    def exact(self, line: InvoiceLine) -> str:
        return exact_dollars(line.amount_nano)

    @admin.display(description="USD")
    def amount(self, line: InvoiceLine) -> str:
        return dollars(line.amount_cents)


@admin.register(Invoice)
class InvoiceAdmin(BrowsingAdmin):
    area = Area.BILLING
    bodies = ("canonical",)
    list_display = (
        "__str__",
        "kind",
        "tenant",
        "month",
        "state",
        "subtotal",
        "credit",
        "total",
        "created_at",
    )
    list_select_related: ClassVar[tuple[str, ...]] = ("tenant", "period")
    list_filter = ("state", "kind", ("tenant", TenantRelatedFilter))
    sortable_by = ("created_at",)
    ordering = ("-created_at",)
    fields = (
        "tenant",
        "kind",
        "number",
        "state",
        "period",
        "corrects",
        "reason",
        "subtotal",
        "credit",
        "total",
        "documents",
        "sha256",
        "created_at",
        "finalized_at",
        "finalized_by",
    )
    readonly_fields = ("subtotal", "credit", "total", "documents")
    inlines = (InvoiceLineInline,)
    actions = ("finalize",)

    @admin.display
    def month(self, invoice: Invoice) -> str:
        return invoice.period.month if invoice.period else ""

    @admin.display
    def subtotal(self, invoice: Invoice) -> str:
        return dollars(invoice.subtotal_cents)

    @admin.display
    def credit(self, invoice: Invoice) -> str:
        return dollars(invoice.credit_cents)

    @admin.display
    def total(self, invoice: Invoice) -> str:
        return dollars(invoice.total_cents)

    @admin.display
    def documents(self, invoice: Invoice) -> SafeString:
        if invoice.state != Invoice.State.FINALIZED:
            return SafeString("when it is finalized")
        links = [self._address(invoice, kind) for kind in ("pdf", "html")]
        return format_html('<a href="{}">PDF</a> · <a href="{}">HTML</a>', *links)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.document)
        names = [
            path(
                f"<path:object_id>/document.{kind}",
                view,
                {"kind": kind},
                name=f"tenants_invoice_{kind}",
            )
            for kind in ("pdf", "html")
        ]
        return [*names, *super().get_urls()]

    def document(self, request: HttpRequest, object_id: str, kind: str) -> HttpResponse:
        """A stranger's invoice answers like one that is not there, and so does a draft."""
        invoice = self.get_object(request, unquote(object_id))
        if invoice is None or invoice.state != Invoice.State.FINALIZED:
            raise Http404
        if not self.has_view_permission(request, invoice):
            raise PermissionDenied
        if kind == "html":
            return HttpResponse(documents.html(invoice.canonical))
        name = f"{invoice.kind}-{invoice.number}.pdf"
        return HttpResponse(
            documents.pdf(invoice.canonical),
            content_type="application/pdf",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    def has_finalize_permission(self, request: HttpRequest) -> bool:
        return access(request).is_operator

    @admin.action(permissions=["finalize"], description="Finalize: number, pay from credit, close")
    def finalize(self, request: HttpRequest, queryset: QuerySet[Invoice]) -> HttpResponse | None:
        if not self.has_finalize_permission(request):
            raise PermissionDenied
        drafts = list(queryset.filter(state=Invoice.State.DRAFT).order_by("created_at"))
        if not drafts:
            self.message_user(request, "None of those chosen is a draft.", messages.WARNING)
            return None
        if not confirming.is_confirmed(request):
            return self._ask_to_finalize(request, drafts)
        done = [invoice for draft in drafts if (invoice := self._finalized(request, draft))]
        if done:
            self.message_user(request, f"{_summed(done)} finalized.", messages.SUCCESS)
        return None

    def _ask_to_finalize(self, request: HttpRequest, drafts: list[Invoice]) -> HttpResponse | None:
        template = "admin/tenants/invoice/finalize.html"
        amounts = [(draft, dollars(draft.subtotal_cents)) for draft in drafts]
        return confirming.ask(
            self,
            request,
            template,
            drafts,
            title="Finalize invoices",
            summed=_summed(drafts),
            amounts=amounts,
        )

    def _finalized(self, request: HttpRequest, draft: Invoice) -> Invoice | None:
        try:
            invoice = invoices.finalize(draft.pk, str(request.user))
        except ValidationError as error:
            self.message_user(request, f"{draft}: {' '.join(error.messages)}", messages.ERROR)
            return None
        if invoice is not None:
            self.log_change(request, invoice, "Finalized.")
        return invoice

    def _address(self, invoice: Invoice, kind: str) -> str:
        return reverse(f"admin:tenants_invoice_{kind}", args=(quote(invoice.pk),))


def _summed(chosen: Sequence[Invoice]) -> str:
    """How many, of how many tenants, and what they come to."""
    tenants = len({invoice.tenant_id for invoice in chosen})
    of = f" of {tenants} tenants" if tenants > 1 else ""
    total = dollars(sum(invoice.subtotal_cents for invoice in chosen))
    return f"{len(chosen)} invoice{'s' if len(chosen) > 1 else ''}{of}, USD {total} before credit,"


class GrantForm(TenantForm):
    """A grant, as an operator types it."""

    amount = forms.CharField(help_text="Dollars and cents, such as 25.00.")
    is_paid = forms.BooleanField(required=False, help_text="The tenant bought it.")

    class Meta:
        model = CreditTransaction
        fields = ("tenant", "reference", "expires_at", "priority", "reason")

    def clean_amount(self) -> int:
        try:
            amount = parsed_cents(self.cleaned_data["amount"])
        except ValueError as error:
            raise ValidationError(str(error)) from error
        if amount <= 0:
            raise ValidationError("A grant is more than 0.00.")
        return amount

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        tenant, reference = cleaned.get("tenant"), cleaned.get("reference", "")
        if tenant is not None:
            try:
                prepaid.check_expiry(tenant.pk, reference, cleaned.get("expires_at"))
            except ValidationError as error:
                self.add_error("expires_at", error)
        return cleaned


@admin.register(CreditTransaction)
class CreditTransactionAdmin(BrowsingAdmin):
    """A grant is added by operators; nothing is changed or deleted."""

    area = Area.BILLING
    rights = frozenset({"view", "add"})
    list_display = (
        "created_at",
        "tenant",
        "kind",
        "amount_shown",
        "reference",
        "expires_at",
        "reason",
    )
    list_filter = ("kind", ("tenant", TenantRelatedFilter))
    search_fields = ("reference__startswith",)
    sortable_by = ("created_at",)
    ordering = ("-created_at",)
    fields = (
        "tenant",
        "kind",
        "amount_shown",
        "reference",
        "grant",
        "invoice",
        "priority",
        "expires_at",
        "reason",
        "actor",
        "created_at",
    )
    readonly_fields = ("amount_shown",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        amount = Sum("entries__amount_cents", filter=prepaid.OF_CREDIT, default=0)
        rows: QuerySet[Any] = super().get_queryset(request)
        counted: QuerySet[Any] = rows.annotate(credit_cents=amount)
        return counted

    def get_form(
        self, request: HttpRequest, obj: Model | None = None, change: bool = False, **options: Any
    ) -> type[forms.ModelForm[Any]]:
        if obj is None:
            options |= {"form": GrantForm, "fields": GrantForm.Meta.fields}
        return super().get_form(request, obj, change, **options)

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        if obj is None:
            return ("tenant", "amount", "is_paid", "reference", "expires_at", "priority", "reason")
        return super().get_fields(request, obj)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change or not self.may("add", request, obj):
            raise PermissionDenied
        made = prepaid.grant(
            obj.tenant_id,
            form.cleaned_data["amount"],
            obj.reference,
            expires_at=obj.expires_at,
            priority=obj.priority,
            is_paid=form.cleaned_data["is_paid"],
            reason=obj.reason,
            actor=str(request.user),
        )
        obj.pk = made.pk

    @admin.display(description="USD")
    def amount_shown(self, movement: Any) -> str:
        return dollars(movement.credit_cents)
