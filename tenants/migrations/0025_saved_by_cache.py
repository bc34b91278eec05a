"""Rows of the ledger tell what an answer from the response cache saved."""

from django.db import migrations, models

from gateway_project.lib.migrations import AddColumn


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("tenants", "0024_domain_confirmed_by_dns")]

    operations = [
        AddColumn(
            model_name="usagerow",
            name="saved_nano",
            field=models.BigIntegerField(
                db_default=0,
                default=0,
                help_text="What an answer from the cache would have been charged beyond its charge.",
            ),
        ),
    ]
