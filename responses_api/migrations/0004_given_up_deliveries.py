"""An index of the deliveries that were given up, which are few."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("responses_api", "0003_walls"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(
                condition=models.Q(("state", "given_up")),
                fields=["created_at", "tenant"],
                name="webhook_given_up",
            ),
        ),
    ]
