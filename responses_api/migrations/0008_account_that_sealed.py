"""Keep beside an answer the credential it was asked with: what its account sealed no other can open."""

from django.db import migrations, models

from gateway_project.lib.migrations import AddColumn


class Migration(migrations.Migration):
    dependencies = [("responses_api", "0007_cached_answers")]

    operations = [
        AddColumn(
            model_name="storedresponse",
            name="account",
            field=models.CharField(blank=True, db_default="", default="", max_length=36),
        ),
        AddColumn(
            model_name="conversationitem",
            name="account",
            field=models.CharField(blank=True, db_default="", default="", max_length=36),
        ),
    ]
