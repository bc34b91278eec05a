"""Sums by hour, day and end user. Rows from before are summed by a periodic job, the newest day first."""

from datetime import timedelta

import django.db.models.deletion
from django.db import migrations, models

from gateway_project.lib import clock


def begin_backfill(apps, schema_editor):
    """Have the job begin, if there is anything to sum. Rows may be from clocks that were ahead."""
    if apps.get_model("tenants", "UsageHour").objects.exists():
        reached = clock.now() + timedelta(days=3650)
        apps.get_model("tenants", "SumsBackfill").objects.create(sums="end_user", reached=reached)


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0028_sums_by_key_and_day"),
    ]

    operations = [
        migrations.CreateModel(
            name="EndUserDay",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("starts_at", models.DateTimeField()),
                ("requests", models.BigIntegerField(db_default=0, default=0)),
                ("calls", models.BigIntegerField(db_default=0, default=0)),
                ("failed", models.BigIntegerField(db_default=0, default=0)),
                ("absorbed", models.BigIntegerField(db_default=0, default=0)),
                ("estimated", models.BigIntegerField(db_default=0, default=0)),
                ("unpriced", models.BigIntegerField(db_default=0, default=0)),
                ("hits", models.BigIntegerField(db_default=0, default=0)),
                ("input_fresh", models.BigIntegerField(db_default=0, default=0)),
                ("input_audio", models.BigIntegerField(db_default=0, default=0)),
                ("cache_read", models.BigIntegerField(db_default=0, default=0)),
                ("cache_write", models.BigIntegerField(db_default=0, default=0)),
                ("cache_write_long", models.BigIntegerField(db_default=0, default=0)),
                ("output_visible", models.BigIntegerField(db_default=0, default=0)),
                ("output_audio", models.BigIntegerField(db_default=0, default=0)),
                ("output_reasoning", models.BigIntegerField(db_default=0, default=0)),
                ("cost_nano", models.BigIntegerField(db_default=0, default=0)),
                ("charge_nano", models.BigIntegerField(db_default=0, default=0)),
                ("unfunded_nano", models.BigIntegerField(db_default=0, default=0)),
                ("saved_nano", models.BigIntegerField(db_default=0, default=0)),
                ("end_user", models.CharField(blank=True, max_length=256, null=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "verbose_name": "daily usage by end user",
                "verbose_name_plural": "daily usage by end user",
                "ordering": ("-starts_at",),
                "indexes": [models.Index(fields=["starts_at"], name="end_user_days_by_time")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "starts_at", "end_user"),
                        name="one_sum_per_day_and_end_user",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="EndUserHour",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("starts_at", models.DateTimeField()),
                ("requests", models.BigIntegerField(db_default=0, default=0)),
                ("calls", models.BigIntegerField(db_default=0, default=0)),
                ("failed", models.BigIntegerField(db_default=0, default=0)),
                ("absorbed", models.BigIntegerField(db_default=0, default=0)),
                ("estimated", models.BigIntegerField(db_default=0, default=0)),
                ("unpriced", models.BigIntegerField(db_default=0, default=0)),
                ("hits", models.BigIntegerField(db_default=0, default=0)),
                ("input_fresh", models.BigIntegerField(db_default=0, default=0)),
                ("input_audio", models.BigIntegerField(db_default=0, default=0)),
                ("cache_read", models.BigIntegerField(db_default=0, default=0)),
                ("cache_write", models.BigIntegerField(db_default=0, default=0)),
                ("cache_write_long", models.BigIntegerField(db_default=0, default=0)),
                ("output_visible", models.BigIntegerField(db_default=0, default=0)),
                ("output_audio", models.BigIntegerField(db_default=0, default=0)),
                ("output_reasoning", models.BigIntegerField(db_default=0, default=0)),
                ("cost_nano", models.BigIntegerField(db_default=0, default=0)),
                ("charge_nano", models.BigIntegerField(db_default=0, default=0)),
                ("unfunded_nano", models.BigIntegerField(db_default=0, default=0)),
                ("saved_nano", models.BigIntegerField(db_default=0, default=0)),
                ("end_user", models.CharField(blank=True, max_length=256, null=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "verbose_name": "hourly usage by end user",
                "verbose_name_plural": "hourly usage by end user",
                "ordering": ("-starts_at",),
                "indexes": [models.Index(fields=["starts_at"], name="end_user_hours_by_time")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "starts_at", "end_user"),
                        name="one_sum_per_hour_and_end_user",
                    )
                ],
            },
        ),
        # beside N-1: RunPython begins a job of this version; an hour that N-1 sums meanwhile is summed again with
        # the tenant's next call of that hour, or by rebuild_rollups.
        migrations.RunPython(begin_backfill, migrations.RunPython.noop, elidable=True),
    ]
