"""Name the sums of usage so that one and many read well; the database stays as it is."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0031_invitations_of_tokens"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="usageday",
            options={
                "ordering": ("-starts_at",),
                "verbose_name": "sum of usage by day",
                "verbose_name_plural": "sums of usage by day",
            },
        ),
        migrations.AlterModelOptions(
            name="usagehour",
            options={
                "ordering": ("-starts_at",),
                "verbose_name": "sum of usage by hour",
                "verbose_name_plural": "sums of usage by hour",
            },
        ),
    ]
