"""Budgets keep the zone their running period was made in; another one counts from the next."""

import tenants.validators
from django.db import migrations, models

PERIODS = ("daily", "weekly", "monthly")


def write_down_present_zones(apps, schema_editor):
    """The zone each tenant has now is the one its budgets have been counted in."""
    Tenant = apps.get_model("tenants", "Tenant")
    for tenant in Tenant.objects.only("time_zone").iterator():
        tenant.zone_switches = {period: [[tenant.time_zone, 0, 0]] for period in PERIODS}
        tenant.save(update_fields=["zone_switches"])


class Migration(migrations.Migration):

    dependencies = [
        ("tenants", "0003_ledger"),
    ]

    operations = [
        migrations.AddField(
            model_name="tenant",
            name="zone_switches",
            field=models.JSONField(default=dict, editable=False),
        ),
        migrations.AlterField(
            model_name="tenant",
            name="time_zone",
            field=models.CharField(
                default="UTC",
                help_text="Another one counts for a budget once its running period is over; the period that follows is then longer, never shorter.",
                max_length=64,
                validators=[tenants.validators.validate_time_zone],
            ),
        ),
        migrations.RunPython(write_down_present_zones, migrations.RunPython.noop, elidable=True),
    ]
