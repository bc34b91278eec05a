"""Name the sums of usage so that one and many read well; the database stays as it is."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0031_invitations_of_tokens"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="enduserday",
            options={
                "ordering": ("-starts_at",),
                "verbose_name": "sum of usage by day and end user",
                "verbose_name_plural": "sums of usage by day and end user",
            },
        ),
        migrations.AlterModelOptions(
            name="enduserhour",
            options={
                "ordering": ("-starts_at",),
                "verbose_name": "sum of usage by hour and end user",
                "verbose_name_plural": "sums of usage by hour and end user",
            },
        ),
        migrations.AlterModelOptions(
            name="keyday",
            options={
                "ordering": ("-starts_at",),
                "verbose_name": "sum of usage by day and key",
                "verbose_name_plural": "sums of usage by day and key",
            },
        ),
        migrations.AlterModelOptions(
            name="modelday",
            options={
                "ordering": ("-starts_at",),
                "verbose_name": "sum of usage by day and model",
                "verbose_name_plural": "sums of usage by day and model",
            },
        ),
        migrations.AlterModelOptions(
            name="modelhour",
            options={
                "ordering": ("-starts_at",),
                "verbose_name": "sum of usage by hour and model",
                "verbose_name_plural": "sums of usage by hour and model",
            },
        ),
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
