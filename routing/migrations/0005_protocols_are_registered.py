"""Let a provider speak whatever `routing.protocols.PROTOCOLS` lists: no further migration adds one."""

import routing.models
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("routing", "0004_existing_links"),
    ]

    operations = [
        migrations.AlterField(
            model_name="provider",
            name="protocol",
            field=models.CharField(choices=routing.models.protocol_choices, max_length=16),
        ),
    ]
