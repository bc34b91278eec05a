"""Sums count requests beside the upstream calls that were made for them."""

from django.db import migrations, models
from django.db.models import F
from django.db.models.functions import TruncHour
from datetime import UTC

BATCH = 2_000


def count_requests(apps, schema_editor):
    """Every call is a request of its own, but in hours in which one had several: those are marked, to be
    summed again from their rows."""
    for name in ("UsageHour", "UsageDay"):
        apps.get_model("tenants", name).objects.update(requests=F("calls"))
    dirty_hour = apps.get_model("tenants", "DirtyHour")
    further = apps.get_model("tenants", "UsageRow").objects.filter(leg__gt=0)
    horizon = apps.get_model("tenants", "RetentionHorizon").objects.filter(table="usage").first()
    if horizon is not None:  # what lies before it may be gone in part
        further = further.filter(opened_at__gte=horizon.before)
    hours = (
        further.exclude(status="correction")
        .order_by()
        .annotate(hour=TruncHour("opened_at", tzinfo=UTC))
        .values_list("tenant_id", "hour")
        .distinct()
    )
    marks = (dirty_hour(tenant_id=tenant, hour=hour) for tenant, hour in hours)
    dirty_hour.objects.bulk_create(marks, batch_size=BATCH)


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0007_budgets_by_list_price"),
    ]

    operations = [
        migrations.AddField(
            model_name="usageday",
            name="requests",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="usagehour",
            name="requests",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.RunPython(count_requests, migrations.RunPython.noop, elidable=True),
    ]
