"""Sums by model, over all keys, with how long calls took; and how many calls were absorbed, in sums by key.

Rows from before are summed by a periodic job, the newest day first, while the gateway runs.
"""

from datetime import timedelta

import django.db.models.deletion
from django.db import migrations, models

from gateway_project.lib import clock
from gateway_project.lib.migrations import AddColumn

COUNTS = (
    *("requests", "calls", "failed", "absorbed", "estimated", "unpriced"),
    *("incomplete", "client_gone", "cancelled", "abandoned"),
    *("input_fresh", "input_audio", "cache_read", "cache_write", "cache_write_long"),
    *("output_visible", "output_audio", "output_reasoning"),
    *("cost_nano", "charge_nano", "unfunded_nano"),
)
BUCKETS = tuple(f"{name}_{place:02}" for name in ("duration", "first_token") for place in range(40))


def sums(name, verbose_name, constraint, index):
    subject = ("tenant", "starts_at", "alias", "provider", "upstream_model")
    key = models.BigAutoField(
        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
    )
    tenant = models.ForeignKey(
        db_constraint=False,
        db_index=False,
        on_delete=django.db.models.deletion.DO_NOTHING,
        related_name="+",
        to="tenants.tenant",
    )
    return migrations.CreateModel(
        name=name,
        fields=[
            ("id", key),
            ("starts_at", models.DateTimeField()),
            ("alias", models.CharField(max_length=300)),
            ("provider", models.CharField(max_length=63)),
            ("upstream_model", models.CharField(max_length=200)),
            *((count, models.BigIntegerField(default=0)) for count in COUNTS),
            *((bucket, models.IntegerField(null=True)) for bucket in BUCKETS),
            ("tenant", tenant),
        ],
        options={
            "verbose_name": verbose_name,
            "verbose_name_plural": verbose_name,
            "ordering": ("-starts_at",),
            "abstract": False,
            "indexes": [models.Index(fields=["starts_at"], name=index)],
            "constraints": [models.UniqueConstraint(fields=subject, name=constraint)],
        },
    )


def begin_backfill(apps, schema_editor):
    """Have the job begin, if there is anything to sum. Rows may be from clocks that were ahead."""
    if apps.get_model("tenants", "UsageHour").objects.exists():
        reached = clock.now() + timedelta(days=3650)
        apps.get_model("tenants", "SumsBackfill").objects.create(sums="model", reached=reached)


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0020_refusals"),
    ]

    operations = [
        migrations.CreateModel(
            name="SumsBackfill",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("sums", models.CharField(max_length=63, unique=True)),
                ("reached", models.DateTimeField()),
            ],
        ),
        AddColumn(
            model_name="usageday",
            name="absorbed",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        AddColumn(
            model_name="usagehour",
            name="absorbed",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        sums("ModelDay", "daily usage by model", "one_sum_per_day_and_model", "model_days_by_time"),
        sums(
            "ModelHour", "hourly usage by model", "one_sum_per_hour_and_model", "model_hours_by_time"
        ),
        migrations.RunPython(begin_backfill, migrations.RunPython.noop, elidable=True),
    ]
