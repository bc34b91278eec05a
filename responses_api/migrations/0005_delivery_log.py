"""Indexes that read a tenant's or an endpoint's deliveries newest first."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("responses_api", "0004_given_up_deliveries"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(fields=["tenant", "id"], name="webhook_newest_of_tenant"),
        ),
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(fields=["endpoint", "id"], name="webhook_newest_of_endpoint"),
        ),
    ]
