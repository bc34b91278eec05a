"""Invoices name their issuer and customer, tax and due date; the details of both stand in one table."""

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.comparison
from django.db import migrations, models

from gateway_project.lib.migrations import AddColumn


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0025_saved_by_cache"),
    ]

    operations = [
        AddColumn(
            model_name="invoice",
            name="due_on",
            field=models.DateField(help_text="When it is due; credit notes never are.", null=True),
        ),
        AddColumn(
            model_name="invoice",
            name="tax_basis_points",
            field=models.PositiveSmallIntegerField(
                help_text="Hundredths of a percent of the subtotal; empty: no tax is shown.",
                null=True,
            ),
        ),
        AddColumn(
            model_name="invoice",
            name="tax_cents",
            field=models.BigIntegerField(
                db_default=0, default=0, help_text="Of the subtotal, rounded half up, once."
            ),
        ),
        migrations.AlterField(
            model_name="invoice",
            name="total_cents",
            field=models.BigIntegerField(
                default=0, help_text="To be paid: subtotal and tax, less credit."
            ),
        ),
        migrations.CreateModel(
            name="BillingDetails",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        help_text="The legal name, as it has to stand on an invoice.",
                        max_length=200,
                    ),
                ),
                (
                    "address",
                    models.CharField(
                        blank=True, help_text="Street, town and country, in lines.", max_length=500
                    ),
                ),
                (
                    "tax_id",
                    models.CharField(
                        blank=True,
                        help_text="Such as a VAT number.",
                        max_length=64,
                        verbose_name="tax id",
                    ),
                ),
                ("email", models.EmailField(blank=True, max_length=254, verbose_name="e-mail")),
                (
                    "reference",
                    models.CharField(
                        blank=True,
                        help_text="The tenant's own order number or cost centre, which its invoices name.",
                        max_length=200,
                    ),
                ),
                (
                    "payment",
                    models.CharField(
                        blank=True,
                        help_text="How the issuer is paid, such as a bank account, in lines.",
                        max_length=1000,
                    ),
                ),
                (
                    "terms_days",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        help_text="Days from the issue of an invoice until it is due. A tenant's own come first.",
                        null=True,
                        validators=[django.core.validators.MaxValueValidator(365)],
                    ),
                ),
                (
                    "tax_name",
                    models.CharField(
                        blank=True,
                        help_text="Such as VAT. A tenant's own comes first.",
                        max_length=32,
                    ),
                ),
                (
                    "tax_basis_points",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        help_text="Hundredths of a percent that are added as tax: 1900 is 19 %. Empty: no tax is shown. A tenant's own come first, 0 too.",
                        null=True,
                        validators=[django.core.validators.MaxValueValidator(10000)],
                    ),
                ),
                (
                    "note",
                    models.CharField(
                        blank=True,
                        help_text="Printed below the amounts, such as why there is no tax, in lines.",
                        max_length=1000,
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        blank=True,
                        help_text="Whom invoices are addressed to; empty: the platform, which issues them.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "verbose_name": "billing details",
                "verbose_name_plural": "billing details",
                "ordering": ("tenant",),
                "constraints": [
                    models.UniqueConstraint(
                        django.db.models.functions.comparison.Coalesce("tenant", models.Value(0)),
                        name="billing_details_once",
                        violation_error_message="There are billing details of it already: change those.",
                    )
                ],
            },
        ),
    ]
