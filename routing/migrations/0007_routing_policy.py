"""Positions become tiers, and enabled credentials of one provider a pool, without a change to any call.

Until now targets of one position were tried in the order in which they were made, and of several credentials
the newest was sent alone. So equal positions are numbered anew in that order, and older credentials get the
weight 0: they come to use only where the newest has failed or is gone.
"""

import django.core.validators
import routing.models
import routing.validators
from django.db import migrations, models


def number_tiers(apps, schema_editor):
    Target = apps.get_model("routing", "Target")
    by_alias = {}
    for target in Target.objects.order_by("alias", "position", "pk").iterator():
        by_alias.setdefault(target.alias_id, []).append(target)
    for targets in by_alias.values():
        if len({target.position for target in targets}) < len(targets):
            for position, target in enumerate(targets):
                Target.objects.filter(pk=target.pk).update(position=position)


def drain_older_credentials(apps, schema_editor):
    Credential = apps.get_model("routing", "Credential")
    seen, older = set(), []
    for row in Credential.objects.filter(enabled=True).order_by("-created_at", "-pk").iterator():
        owner = row.provider_id, row.tenant_id
        if owner in seen:
            older.append(row.pk)
        seen.add(owner)
    for first in range(0, len(older), 200):
        Credential.objects.filter(pk__in=older[first : first + 200]).update(weight=0)


class Migration(migrations.Migration):

    dependencies = [
        ('routing', '0006_upstream_tests'),
    ]

    operations = [
        migrations.AddField(
            model_name='alias',
            name='affinity',
            field=models.CharField(choices=[('cache', 'Where the prompt may be cached'), ('none', 'None')], default='cache', help_text='Calls that begin alike go to the same target, as long as it works.', max_length=16),
        ),
        migrations.AddField(
            model_name='alias',
            name='affinity_seconds',
            field=models.PositiveIntegerField(default=600, help_text='How long a target that answered is preferred for calls that begin alike.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(86400)]),
        ),
        migrations.AddField(
            model_name='alias',
            name='fall_back_on',
            field=models.JSONField(blank=True, default=routing.models.usual_fall_backs, help_text='The kinds of failure after which another target is asked.', validators=[routing.validators.validate_fall_backs]),
        ),
        migrations.AddField(
            model_name='alias',
            name='max_attempts',
            field=models.PositiveSmallIntegerField(default=3, help_text='Calls to providers for one request, 1 to 3, over all targets.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(3)]),
        ),
        migrations.AddField(
            model_name='alias',
            name='strategy',
            field=models.CharField(choices=[('weighted', 'By weight'), ('fastest', 'The fastest'), ('cheapest', 'The cheapest'), ('least_busy', 'The least busy')], default='weighted', help_text='How the targets of one tier are ordered for a call.', max_length=16),
        ),
        migrations.AddField(
            model_name='alias',
            name='wait_seconds',
            field=models.PositiveSmallIntegerField(default=5, help_text='The longest wait, 0 to 60 seconds, until a target may be asked again where none other is left.', validators=[django.core.validators.MaxValueValidator(60)]),
        ),
        migrations.AddField(
            model_name='credential',
            name='weight',
            field=models.PositiveSmallIntegerField(default=100, help_text='Its share of the calls among the credentials of the provider, 0 to 1000. 0: only when all others have failed.', validators=[django.core.validators.MaxValueValidator(1000)]),
        ),
        migrations.AddField(
            model_name='provider',
            name='limits',
            field=models.JSONField(blank=True, default=dict, help_text='What each credential may do upstream, for example {"requests_per_minute": 500, "tokens_per_minute": 200000, "concurrency": 50}. Where little of it is left, others are asked first; nothing is refused.', validators=[routing.validators.validate_limits]),
        ),
        migrations.AddField(
            model_name='target',
            name='enabled',
            field=models.BooleanField(default=True),
        ),
        migrations.AddField(
            model_name='target',
            name='weight',
            field=models.PositiveSmallIntegerField(default=100, help_text='Its share of the calls within its tier, 0 to 1000. 0: only when all others have failed.', validators=[django.core.validators.MaxValueValidator(1000)]),
        ),
        migrations.AddField(
            model_name='target',
            name='when',
            field=models.JSONField(blank=True, default=dict, help_text='The calls it is for, for example {"input_tokens": {"lte": 8000}, "tags.team": "search"}; all must hold. Empty: all calls.', validators=[routing.validators.validate_when]),
        ),
        migrations.AlterField(
            model_name='target',
            name='position',
            field=models.PositiveSmallIntegerField(default=0, help_text='The tier: the lowest is tried first, equal ones share the calls.'),
        ),
        migrations.RunPython(number_tiers, migrations.RunPython.noop, elidable=True),
        migrations.RunPython(drain_older_credentials, migrations.RunPython.noop, elidable=True),
    ]
