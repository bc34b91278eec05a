"""Rows of the ledger hold units beside tokens, what became of an attempt, and what was held for it.

The table may have tens of millions of rows: no column is added by copying it, and on PostgreSQL the indexes are
built while rows are written. That is possible outside a transaction only; where it is interrupted, `migrate` goes
on where it ended.
"""

import django.core.validators
from django.db import migrations, models

import tenants.units
from gateway_project.lib.migrations import AddColumn, AddIndexInPlace

_NOT_COMPLETED = models.Q(("status", "completed"), _negated=True)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("tenants", "0008_requests_in_sums"),
    ]

    operations = [
        AddColumn(
            model_name="usageday",
            name="units",
            field=models.JSONField(
                help_text="Quantities of units beside tokens, by name; empty where there are none.",
                null=True,
            ),
        ),
        AddColumn(
            model_name="usagehour",
            name="units",
            field=models.JSONField(
                help_text="Quantities of units beside tokens, by name; empty where there are none.",
                null=True,
            ),
        ),
        AddColumn(
            model_name="usagerow",
            name="units",
            field=models.JSONField(
                blank=True,
                help_text="Units beside tokens: by name the quantity, and its share of the charge.",
                null=True,
            ),
        ),
        AddColumn(
            model_name="usagerow",
            name="held_nano",
            field=models.BigIntegerField(
                help_text="What budgets held for it when it was opened; empty where none limited it.",
                null=True,
            ),
        ),
        AddColumn(
            model_name="usagerow",
            name="absorbed",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="It failed and another target was tried: no error of the request.",
            ),
        ),
        AddColumn(
            model_name="usagerow",
            name="guardrail_outcome",
            field=models.CharField(
                blank=True,
                choices=[
                    ("passed", "Nothing was found"),
                    ("monitored", "Found and let through"),
                    ("masked", "Found and masked"),
                    ("blocked", "Found and blocked"),
                    ("skipped", "Could not be asked, let through"),
                    ("unavailable", "Could not be asked, refused"),
                ],
                db_default="",
                default="",
                max_length=16,
            ),
        ),
        AddColumn(
            model_name="usagerow",
            name="cache_outcome",
            field=models.CharField(
                blank=True,
                choices=[
                    ("hit", "Answered from the cache"),
                    ("similar", "Answered by a similar request's answer"),
                    ("miss", "Not in the cache"),
                    ("refresh", "Asked anew on request"),
                ],
                db_default="",
                default="",
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="invoiceline",
            name="token_class",
            field=models.CharField(blank=True, max_length=24, verbose_name="class"),
        ),
        migrations.AlterField(
            model_name="invoiceline",
            name="tokens",
            field=models.BigIntegerField(default=0, verbose_name="quantity"),
        ),
        migrations.AlterField(
            model_name="priceline",
            name="pico_per_token",
            field=models.BigIntegerField(
                help_text="US dollars times 10^12 per token, or per unit of another class: $3.00 per million tokens is 3000000.",
                validators=[django.core.validators.MinValueValidator(0)],
                verbose_name="pico-dollars",
            ),
        ),
        migrations.AlterField(
            model_name="priceline",
            name="token_class",
            field=models.CharField(
                choices=tenants.units.choices, max_length=24, verbose_name="class"
            ),
        ),
        AddIndexInPlace(
            model_name="usagerow",
            index=models.Index(fields=["key_id", "opened_at"], name="usage_of_key_by_time"),
        ),
        AddIndexInPlace(
            model_name="usagerow",
            index=models.Index(
                condition=_NOT_COMPLETED, fields=["opened_at"], name="usage_not_completed"
            ),
        ),
        AddIndexInPlace(
            model_name="usagerow",
            index=models.Index(
                condition=_NOT_COMPLETED,
                fields=["tenant", "opened_at"],
                name="usage_not_completed_of_tenant",
            ),
        ),
        AddIndexInPlace(
            model_name="usagerow",
            index=models.Index(
                condition=models.Q(units__isnull=False),
                fields=["tenant", "opened_at"],
                name="usage_with_units",
            ),
        ),
    ]
