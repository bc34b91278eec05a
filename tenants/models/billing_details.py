"""Define who issues invoices, and whom those of a tenant are addressed to."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Value
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from tenants.audit.querysets import RecordedModel
from tenants.models.accounts import Tenant

MOST_BASIS_POINTS = 10_000
MOST_TERMS_DAYS = 365


class BillingDetails(RecordedModel):
    """One side of invoices: a tenant they are addressed to or, without one, the platform, which issues them.

    Invoices copy all of it when they are finalized, so that a change is about later ones only.
    """

    tenant = models.ForeignKey(
        Tenant,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text=_("Whom invoices are addressed to; empty: the platform, which issues them."),
    )
    name = models.CharField(
        max_length=200, help_text=_("The legal name, as it has to stand on an invoice.")
    )
    address = models.CharField(
        max_length=500, blank=True, help_text=_("Street, town and country, in lines.")
    )
    tax_id = models.CharField(
        _("tax id"), max_length=64, blank=True, help_text=_("Such as a VAT number.")
    )
    email = models.EmailField(_("e-mail"), blank=True)
    reference = models.CharField(
        max_length=200,
        blank=True,
        help_text=_("The tenant's own order number or cost centre, which its invoices name."),
    )
    payment = models.CharField(
        max_length=1000,
        blank=True,
        help_text=_("How the issuer is paid, such as a bank account, in lines."),
    )
    terms_days = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(MOST_TERMS_DAYS)],
        help_text=_(
            "Days from the issue of an invoice until it is due. A tenant's own come first."
        ),
    )
    tax_name = models.CharField(
        max_length=32,
        blank=True,
        help_text=_("Such as VAT. A tenant's own comes first."),
    )
    tax_basis_points = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(MOST_BASIS_POINTS)],
        help_text=_(
            "Hundredths of a percent that are added as tax: 1900 is 19 %. Empty: no tax is shown. A "
            "tenant's own come first, 0 too."
        ),
    )
    note = models.CharField(
        max_length=1000,
        blank=True,
        help_text=_("Printed below the amounts, such as why there is no tax, in lines."),
    )

    class Meta:
        verbose_name = _("billing details")
        verbose_name_plural = _("billing details")
        ordering = ("tenant",)
        constraints = (
            models.UniqueConstraint(
                Coalesce("tenant", Value(0)),
                name="billing_details_once",
                violation_error_message=_("There are billing details of it already: change those."),
            ),
        )

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse what belongs to the other side."""
        super().clean()
        wrong: dict[str, Any] = {}
        if self.tenant_id is None and self.reference:
            wrong["reference"] = _("Only a tenant has a reference.")
        if self.tenant_id is not None and self.payment:
            wrong["payment"] = _("Only the issuer says how it is paid.")
        if wrong:
            raise ValidationError(wrong)
