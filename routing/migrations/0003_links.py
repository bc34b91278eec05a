"""A tenant's alias may be a link to one of the platform's."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("routing", "0002_responses_state"),
    ]

    operations = [
        migrations.AddField(
            model_name="alias",
            name="platform_alias",
            field=models.ForeignKey(
                blank=True,
                help_text="Makes a tenant's alias another name for this alias of the platform, which says where it leads and what it costs. Without it, it leads to models of the tenant's own providers.",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="links",
                to="routing.alias",
            ),
        ),
        migrations.AddField(
            model_name="target",
            name="is_legacy",
            field=models.BooleanField(default=False, editable=False),
        ),
        migrations.AddField(
            model_name="provider",
            name="allow_tenant_credentials",
            field=models.BooleanField(
                default=True,
                help_text="Tenants may bring credentials of their own for it; calls with one cost the platform nothing. Switch it off where the upstream accepts any credential.",
            ),
        ),
        migrations.AddConstraint(
            model_name="alias",
            constraint=models.CheckConstraint(
                condition=models.Q(("platform_alias", None), ("tenant__isnull", False), _connector="OR"),
                name="only_a_tenants_alias_is_a_link",
                violation_error_message="An alias of the platform leads to models, not to another alias.",
            ),
        ),
    ]
