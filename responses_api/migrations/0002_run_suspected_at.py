"""When somebody first saw that the owner of a run had let its lease run out."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("responses_api", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="run",
            name="suspected_at",
            field=models.DateTimeField(
                blank=True,
                help_text="When its lease was first seen to have expired.",
                null=True,
            ),
        ),
    ]
