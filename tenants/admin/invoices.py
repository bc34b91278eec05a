"""The pages of invoices and credit notes: read like the document; operators finalize and credit there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from tenants.admin import confirming
from tenants.admin.billing import cents
from tenants.admin.browsing import BrowsingAdmin
from tenants.admin.periods import usage_address
from tenants.audit import events
from tenants.billing import documents, invoices
from tenants.billing.money import dollars
from tenants.billing.tax import percent
from tenants.console.actions import console_action
from tenants.console.scoped_admin import TenantRelatedFilter, access
from tenants.console.search import FoundBy
from tenants.managed.tables import INVOICES
from tenants.models import Invoice
from tenants.reports import billing as reports
from tenants.theme import DollarField, TextInput

CONTENT_TYPES = {
    "pdf": "application/pdf",
    "html": "text/html",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
}
KINDS = {Invoice.State.DRAFT: "warn", Invoice.State.FINALIZED: "good"}
_LINE = "line_"


def is_draft(invoice: Invoice) -> bool:
    return invoice.state == Invoice.State.DRAFT


def is_creditable(invoice: Invoice) -> bool:
    return not is_draft(invoice) and invoice.kind == Invoice.Kind.INVOICE


def _about_finalizing(invoice: Invoice) -> str:
    text = _(
        "The draft for %(month)s of %(tenant)s comes to %(amount)s before credit. It is computed once "
        "more, numbered, paid from prepaid credit as far as that goes, and closed: it cannot be changed "
        "afterwards, only reversed by a credit note."
    )
    return text % {
        "month": invoice.period.month if invoice.period else "",
        "tenant": invoice.tenant.name,
        "amount": cents(invoice.gross_cents),
    }


def _credit_form(invoice: Invoice) -> type[forms.Form]:
    """Return a form that asks how much of each line is taken back, and why."""
    reason = forms.CharField(max_length=300, widget=TextInput, label=gettext_lazy("Reason"))
    fields: dict[str, forms.Field] = {"reason": reason}
    for each in reports.creditable(invoice):
        told = documents.told_lines([each.line], _)[0]["text"]
        help_text = _("At most %(left)s.") % {"left": cents(each.left_cents)}
        fields[f"{_LINE}{each.line.pk}"] = DollarField(
            per_dollar=100, least=1, required=False, label=told, help_text=help_text
        )
    return type("CreditNoteForm", (forms.Form,), fields)


@admin.register(Invoice)
class InvoiceAdmin(BrowsingAdmin):
    resource = INVOICES
    when_empty = gettext_lazy(
        "One is drafted for each month that is over, or by “Close month” on the page of a period."
    )
    found_by = FoundBy(ids=("number",))
    bodies = ("canonical",)
    change_form_template = "admin/tenants/invoice/change_form.html"
    list_display = (
        *("number_shown", "tenant", "month", "state_shown", "amount", "credit", "due"),
        *("due_on", "finalized_at"),
    )
    list_select_related: ClassVar[tuple[str, ...]] = ("tenant", "period", "corrects")
    list_filter = ("state", "kind", ("tenant", TenantRelatedFilter))
    sortable_by = ("finalized_at",)
    ordering = ("-created_at",)
    fields = (
        *("tenant", "kind", "period", "corrects", "reason", "due_on", "created_at"),
        *("finalized_at", "finalized_by", "sha256"),
    )
    actions = ("finalize_chosen",)

    @admin.display(description=gettext_lazy("Number"))
    def number_shown(self, invoice: Invoice) -> SafeString:
        number = invoice.number or _("Draft")
        if invoice.kind == Invoice.Kind.INVOICE:
            return format_html("{}", number)
        return format_html("{} <span class='tg-grey'>{}</span>", number, invoice.get_kind_display())

    @admin.display(description=gettext_lazy("Month"))
    def month(self, invoice: Invoice) -> SafeString:
        month = invoice.period.month if invoice.period else "—"
        return format_html('<span class="nowrap">{}</span>', month)

    @admin.display(description=gettext_lazy("State"), ordering="state")
    def state_shown(self, invoice: Invoice) -> SafeString:
        kind = KINDS[Invoice.State(invoice.state)]
        label = invoice.get_state_display()
        return format_html('<span class="tg-badge tg-badge--{}">{}</span>', kind, label)

    @admin.display(description=gettext_lazy("Amount"))
    def amount(self, invoice: Invoice) -> str:
        return cents(invoice.gross_cents)

    @admin.display(description=gettext_lazy("From credit"))
    def credit(self, invoice: Invoice) -> str:
        return cents(invoice.credit_cents)

    @admin.display(description=gettext_lazy("Due"))
    def due(self, invoice: Invoice) -> str:
        return cents(invoice.total_cents)

    # The page of an invoice

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *rest: Any, **options: Any
    ) -> HttpResponse:
        invoice = options.get("obj")
        shown = {} if invoice is None else self._document(invoice)
        return super().render_change_form(request, {**context, **shown}, *rest, **options)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave out what only credit notes have."""
        fields = super().get_fields(request, obj)
        is_note = obj is not None and obj.kind == Invoice.Kind.CREDIT_NOTE
        return [name for name in fields if is_note or name not in {"corrects", "reason"}]

    def _document(self, invoice: Invoice) -> dict[str, Any]:
        """Return what the page shows of the document, of a draft as it is now."""
        lines = list(invoice.lines.select_related("usage_period", "corrects").order_by("position"))
        period = invoice.period
        kinds = () if is_draft(invoice) else ("pdf", "csv", "html", "json")
        notes = invoice.credit_notes.order_by("number") if is_creditable(invoice) else ()
        return {
            "headings": [_(each) for each in documents.told_headings(lines)],
            "lines": documents.told_lines(lines, _),
            "amounts": _amounts(invoice),
            **({} if is_draft(invoice) else _sides(invoice)),
            "files": [(kind.upper(), self._address(invoice, kind)) for kind in kinds],
            "usage_address": "" if period is None else usage_address(period),
            "period": period,
            "notes": [(note, cents(note.total_cents)) for note in notes],
            "state": self.state_shown(invoice),
        }

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.document)
        names = [
            path(
                f"<path:object_id>/document.{kind}",
                view,
                {"kind": kind},
                name=f"tenants_invoice_{kind}",
            )
            for kind in CONTENT_TYPES
        ]
        return [*names, *super().get_urls()]

    def document(self, request: HttpRequest, object_id: str, kind: str) -> HttpResponse:
        """Serve the invoice. A stranger's invoice answers like one that does not exist, and so does a
        draft.
        """
        invoice = self.get_object(request, unquote(object_id))
        if invoice is None or is_draft(invoice):
            raise Http404
        if not self.has_view_permission(request, invoice):
            raise PermissionDenied
        events.record(
            "invoice.exported", tenant_id=invoice.tenant_id, row=invoice, details={"as": kind}
        )
        if kind == "html":
            return HttpResponse(documents.html(invoice.canonical))
        name = documents.file_name(invoice, kind)
        return HttpResponse(
            documents.written(invoice.canonical, kind),
            content_type=CONTENT_TYPES[kind],
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    def _address(self, invoice: Invoice, kind: str) -> str:
        return reverse(f"admin:tenants_invoice_{kind}", args=(quote(invoice.pk),))

    # Finalizing and crediting

    def has_finalize_permission(self, request: HttpRequest) -> bool:
        return access(request).is_operator

    @console_action(
        gettext_lazy("Finalize"),
        right="view",
        asks=_about_finalizing,
        is_harmful=True,
        operators=True,
        shown_for=is_draft,
    )
    def finalize(self, request: HttpRequest, row: Invoice) -> str:
        done = invoices.finalize(row.pk, str(request.user))
        if done is None:
            return _(
                "The ledger leaves nothing to invoice: the month is closed without an invoice."
            )
        self.log_change(request, done, "Finalized.")
        text = _("Invoice %(number)s: %(amount)s, %(credit)s paid from credit, %(due)s due.")
        return text % {
            "number": done.number,
            "amount": cents(done.gross_cents),
            "credit": cents(done.credit_cents),
            "due": cents(done.total_cents),
        }

    @console_action(
        gettext_lazy("Credit note"),
        right="view",
        asks=gettext_lazy(
            "A credit note takes back what you write beside the lines. What the invoice had been paid from "
            "credit becomes credit again first. It gets the next number and cannot be changed."
        ),
        form_for=_credit_form,
        operators=True,
        shown_for=is_creditable,
    )
    def credit_note(self, request: HttpRequest, row: Invoice, given: dict[str, Any]) -> str:
        amounts = {
            int(name.removeprefix(_LINE)): amount
            for name, amount in given.items()
            if name.startswith(_LINE) and amount
        }
        if not amounts:
            raise ValidationError(_("Nothing was credited: no line had an amount."))
        note = invoices.credit_note(row.pk, amounts, given["reason"], str(request.user))
        self.log_change(request, note, f"Credits invoice {row.number}.")
        text = _(
            "Credit note %(number)s takes back %(amount)s, %(credit)s of it as prepaid credit."
        )
        return text % {
            "number": note.number,
            "amount": cents(-note.gross_cents),
            "credit": cents(-note.credit_cents),
        }

    @admin.action(
        permissions=["finalize"],
        description=gettext_lazy("Finalize: number, pay from credit, close"),
    )
    def finalize_chosen(
        self, request: HttpRequest, queryset: QuerySet[Invoice]
    ) -> HttpResponse | None:
        if not self.has_finalize_permission(request):
            raise PermissionDenied
        drafts = list(queryset.filter(state=Invoice.State.DRAFT).order_by("created_at"))
        if not drafts:
            text = _("None of the chosen invoices is a draft.")
            self.message_user(request, text, messages.WARNING)
            return None
        if not confirming.is_confirmed(request):
            return self._ask_to_finalize(request, drafts)
        done = [invoice for draft in drafts if (invoice := self._finalized(request, draft))]
        if done:
            text = _("Finalized: %(summed)s.") % {"summed": _summed(done)}
            self.message_user(request, text, messages.SUCCESS)
        return None

    def _ask_to_finalize(self, request: HttpRequest, drafts: list[Invoice]) -> HttpResponse | None:
        return confirming.ask(
            self,
            request,
            "admin/tenants/invoice/finalize.html",
            drafts,
            title=_("Finalize invoices"),
            summed=_summed(drafts),
            amounts=[(draft, dollars(draft.gross_cents)) for draft in drafts],
        )

    def _finalized(self, request: HttpRequest, draft: Invoice) -> Invoice | None:
        try:
            invoice = invoices.finalize(draft.pk, str(request.user))
        except ValidationError as error:
            self.message_user(
                request,
                _("%(draft)s: %(names)s") % {"draft": draft, "names": " ".join(error.messages)},
                messages.ERROR,
            )
            return None
        if invoice is not None:
            self.log_change(request, invoice, "Finalized.")
        return invoice


def _amounts(invoice: Invoice) -> list[tuple[str, str]]:
    """Return what stands below the lines; tax only where some is shown."""
    tax = []
    if invoice.tax_basis_points is not None:
        rate = _("Tax %(percent)s %%") % {"percent": percent(invoice.tax_basis_points)}
        tax.append((rate, cents(invoice.tax_cents)))
    return [
        (_("Subtotal"), cents(invoice.subtotal_cents)),
        *tax,
        (_("Prepaid credit"), cents(-invoice.credit_cents)),
        (_("Due"), cents(invoice.total_cents)),
    ]


def _sides(invoice: Invoice) -> dict[str, list[str]]:
    """Return issuer and customer as the document names them."""
    told = documents.told(json.loads(invoice.canonical))
    return {"issuer": told["issuer"], "customer": told["customer"]}


def _summed(chosen: Sequence[Invoice]) -> str:
    """Summarise how many, of how many tenants, and the total."""
    tenants = len({invoice.tenant_id for invoice in chosen})
    total = cents(sum(invoice.gross_cents for invoice in chosen))
    values = {"count": len(chosen), "tenants": tenants, "total": total}
    if tenants > 1:
        return _("%(count)s invoices of %(tenants)s tenants, %(total)s before credit") % values
    text = ngettext(
        "%(count)s invoice, %(total)s before credit",
        "%(count)s invoices, %(total)s before credit",
        len(chosen),
    )
    return text % values
