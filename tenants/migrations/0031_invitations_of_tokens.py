"""Which token made an invitation: it ends with it. Those there are were made before this was noted."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0030_tokens_of_tokens"),
    ]

    operations = [
        migrations.AddField(
            model_name="invitation",
            name="made_by",
            field=models.CharField(
                blank=True, db_default="", default="", editable=False, max_length=10
            ),
        ),
    ]
