from django.db import migrations, models


class Migration(migrations.Migration):
    """Leave the database as it is: choices are Django's own."""

    dependencies = [("tenants", "0034_long_work")]

    operations = [
        migrations.AlterField(
            model_name="longtask",
            name="kind",
            field=models.CharField(
                choices=[
                    ("usage_export", "Export of requests"),
                    ("rerating", "Re-rating"),
                    ("purge", "Purge"),
                ],
                max_length=24,
            ),
        ),
    ]
