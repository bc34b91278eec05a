"""Sums know what the response cache answered and saved, and leave its tokens out."""

from datetime import UTC

from django.db import migrations, models
from django.db.models.functions import TruncHour

from gateway_project.lib.migrations import AddColumn

SUMS = ("usagehour", "usageday", "modelhour", "modelday")


def mark_hours_with_hits(apps, schema_editor):
    """Let those hours be summed anew whose sums have the tokens of hits. Twice does no harm."""
    rows = apps.get_model("tenants", "UsageRow").objects.using(schema_editor.connection.alias)
    marks = apps.get_model("tenants", "DirtyHour").objects.using(schema_editor.connection.alias)
    hours = rows.filter(cache_outcome="hit").annotate(of_hour=TruncHour("opened_at", tzinfo=UTC))
    found = hours.order_by().values_list("tenant_id", "of_hour").distinct()
    marks.bulk_create(
        marks.model(tenant_id=tenant, hour=hour) for tenant, hour in found.iterator()
    )


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("tenants", "0026_billing_details")]

    operations = [
        *(
            AddColumn(
                model_name=model,
                name=name,
                field=models.BigIntegerField(db_default=0, default=0),
            )
            for model in SUMS
            for name in ("hits", "saved_nano")
        ),
        # beside N-1: RunPython only marks hours to be summed anew, which either version does at any time.
        migrations.RunPython(mark_hours_with_hits, migrations.RunPython.noop, elidable=True),
    ]
