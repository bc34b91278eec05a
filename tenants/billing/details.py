"""Find what the next invoice of a tenant says of issuer and customer, and by which terms and tax."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q

from tenants.models import BillingDetails


@dataclass(frozen=True, slots=True)
class InvoiceTerms:
    """Both sides of an invoice, either of which may have said nothing. The customer's values come first."""

    issuer: BillingDetails | None
    customer: BillingDetails | None

    @property
    def tax_name(self) -> str:
        return next((each.tax_name for each in self._sides() if each.tax_name), "Tax")

    @property
    def tax_basis_points(self) -> int | None:
        found = (each.tax_basis_points for each in self._sides())
        return next((each for each in found if each is not None), None)

    @property
    def terms_days(self) -> int | None:
        found = (each.terms_days for each in self._sides())
        return next((each for each in found if each is not None), None)

    def _sides(self) -> list[BillingDetails]:
        return [each for each in (self.customer, self.issuer) if each is not None]


def terms_of(tenant_id: int) -> InvoiceTerms:
    """Return what an invoice of this tenant would say now."""
    rows = BillingDetails.objects.filter(Q(tenant=tenant_id) | Q(tenant=None))
    found = {row.tenant_id: row for row in rows}
    return InvoiceTerms(found.get(None), found.get(tenant_id))


def lines_of(text: str) -> list[str]:
    """Return the lines of an address or note that say something."""
    return [line.strip() for line in text.splitlines() if line.strip()]
