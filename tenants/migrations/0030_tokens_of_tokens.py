"""Which token made a token: it ends with it. Those there are were made before this was noted."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0029_sums_by_end_user"),
    ]

    operations = [
        migrations.AddField(
            model_name="apitoken",
            name="made_by",
            field=models.CharField(
                blank=True, db_default="", default="", editable=False, max_length=10
            ),
        ),
    ]
