"""Rows of the ledger say what was asked for, where that is another name for the alias."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("tenants", "0004_zones_of_budgets"),
    ]

    operations = [
        migrations.AddField(
            model_name="usagerow",
            name="requested_model",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="What was asked for, where that is another name for the alias.",
                max_length=300,
            ),
        ),
        migrations.AlterField(
            model_name="priceversion",
            name="model",
            field=models.CharField(
                help_text="Cost book: the provider's name for the model. Charge book: an alias of the platform, provider/model where it is reached without one, or * for providers that tenants bring.",
                max_length=300,
            ),
        ),
    ]
