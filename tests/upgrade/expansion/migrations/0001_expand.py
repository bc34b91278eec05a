"""Expand the tables: a column with a default in a large table, an index, a further table."""

from django.db import migrations, models


def index(apps, schema_editor):
    how = "CONCURRENTLY" if schema_editor.connection.vendor == "postgresql" else ""
    schema_editor.execute(
        f"CREATE INDEX {how} expansion_index ON tenants_usagehour (key_public_id)"
    )


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("tenants", "0025_saved_by_cache")]
    operations = [
        migrations.RunSQL(
            "ALTER TABLE tenants_usagerow ADD COLUMN later integer NOT NULL DEFAULT 0"
        ),
        migrations.RunSQL("ALTER TABLE tenants_apikey ADD COLUMN later varchar(20) NULL"),
        migrations.RunPython(index),
        migrations.CreateModel("Later", [("id", models.BigAutoField(primary_key=True))]),
    ]
