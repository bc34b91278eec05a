"""Usage by day and key alone, made of the days by key and model that there are."""

import django.db.models.deletion
from django.db import migrations, models


SUMMED = (
    *("requests", "calls", "failed", "absorbed", "estimated", "unpriced", "hits"),
    *("input_fresh", "input_audio", "cache_read", "cache_write", "cache_write_long"),
    *("output_visible", "output_audio", "output_reasoning"),
    *("cost_nano", "charge_nano", "unfunded_nano", "saved_nano"),
)
SUBJECT = "tenant_id, starts_at, key_public_id"


def sum_days(apps, schema_editor):
    """Sum what there is in one statement: about a quarter of the rows it reads."""
    sums = ", ".join(f"SUM({name})" for name in SUMMED)
    schema_editor.execute(
        f"INSERT INTO tenants_keyday ({SUBJECT}, {', '.join(SUMMED)}) "
        f"SELECT {SUBJECT}, {sums} FROM tenants_usageday GROUP BY {SUBJECT}"
    )


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0027_cache_hits_in_sums"),
    ]

    operations = [
        migrations.CreateModel(
            name="KeyDay",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("starts_at", models.DateTimeField()),
                ("key_public_id", models.CharField(blank=True, max_length=10)),
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
                "verbose_name": "daily usage by key",
                "verbose_name_plural": "daily usage by key",
                "ordering": ("-starts_at",),
                "indexes": [models.Index(fields=["starts_at"], name="key_days_by_time")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "starts_at", "key_public_id"),
                        name="one_sum_per_day_and_key",
                    )
                ],
            },
        ),
        # beside N-1: RunPython reads sums and writes a table that N-1 does not know; a day N-1 sums after it is
        # summed again with the tenant's next call of that day, or by rebuild_rollups.
        migrations.RunPython(sum_days, migrations.RunPython.noop, elidable=True),
    ]
