"""Budgets may count list prices, and rows of the ledger say what those budgets took for them."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("tenants", "0006_fingerprints_and_heartbeats"),
    ]

    operations = [
        migrations.AddField(
            model_name="budget",
            name="counts_list_price",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Calls with the tenant's own credential at a provider of the platform count at the model's price in the cost book, instead of at the fee for them. What a budget counts is chosen once: make another budget to change it.",
                verbose_name="count list prices",
            ),
        ),
        migrations.AddField(
            model_name="usagerow",
            name="list_version",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="usagerow",
            name="list_nano",
            field=models.BigIntegerField(
                db_default=0,
                default=0,
                help_text="What budgets that count list prices took for it.",
            ),
        ),
    ]
