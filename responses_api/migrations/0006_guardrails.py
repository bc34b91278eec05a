"""Guardrails, and what they did."""

import django.core.validators
import django.db.models.deletion
import gateway_project.lib.clock
import gateway_project.lib.ids
import responses_api.models.guardrails
import responses_api.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('responses_api', '0005_delivery_log'),
        ('routing', '0006_upstream_tests'),
        ('tenants', '0024_domain_confirmed_by_dns'),
    ]

    operations = [
        migrations.CreateModel(
            name='Guardrail',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(help_text='What clients, events and headers call it, such as no-card-numbers.', max_length=63, validators=[responses_api.validators.validate_guardrail_name])),
                ('kind', models.CharField(choices=[('terms', 'Words and phrases'), ('pattern', 'Regular expressions'), ('pii', 'Personal data'), ('secrets', 'Secrets and keys'), ('tools', 'Tools'), ('input_limits', 'Limits of the input'), ('moderation', 'Moderation service'), ('webhook', 'Webhook')], max_length=16)),
                ('action', models.CharField(choices=[('block', 'Block'), ('mask', 'Mask'), ('monitor', 'Monitor only')], default='block', max_length=16)),
                ('stages', models.JSONField(default=responses_api.models.guardrails.default_stages, help_text='What it looks at: the input, the output, the definitions of tools.', validators=[responses_api.validators.validate_guardrail_stages])),
                ('config', models.JSONField(blank=True, default=dict, help_text='What it looks for, by kind (docs/guardrails.md).')),
                ('reversible', models.BooleanField(default=False, help_text='Number the masks of the input, and put the originals back into the answer.')),
                ('url', models.CharField(blank=True, help_text='Where an external check is asked, unless a provider is.', max_length=500, verbose_name='URL')),
                ('sealed_secret', models.TextField(blank=True, editable=False)),
                ('secret_host', models.CharField(blank=True, editable=False, help_text='The host when the secret was entered; it is sent nowhere else.', max_length=300)),
                ('allow_private_network', models.BooleanField(default=False, help_text='Allow a private or loopback address. Only operators may change this.')),
                ('on_failure', models.CharField(choices=[('closed', 'Closed: refuse the call'), ('open', 'Open: let it through')], default='closed', help_text='What happens to a call while an external check cannot be asked.', max_length=8)),
                ('timeout_ms', models.PositiveIntegerField(default=2000, validators=[django.core.validators.MinValueValidator(50), django.core.validators.MaxValueValidator(30000)])),
                ('parallel', models.BooleanField(default=False, help_text='Ask an external check of the input while the model is asked, and give nothing away before its verdict.')),
                ('enabled', models.BooleanField(default=True)),
                ('revision', models.PositiveIntegerField(default=1, editable=False)),
                ('created_at', models.DateTimeField(default=gateway_project.lib.clock.now, editable=False)),
                ('alias', models.ForeignKey(blank=True, help_text='Empty: whatever model is asked for.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='routing.alias')),
                ('api_key', models.ForeignKey(blank=True, help_text='Empty: all keys.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenants.apikey', verbose_name='API key')),
                ('provider', models.ForeignKey(blank=True, help_text='Of a moderation service: ask this provider, with its credential.', null=True, on_delete=django.db.models.deletion.RESTRICT, related_name='+', to='routing.provider')),
                ('tenant', models.ForeignKey(blank=True, help_text="Empty: the platform's, for every tenant.", null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenants.tenant')),
            ],
            options={
                'ordering': ('name', 'pk'),
                'constraints': [models.UniqueConstraint(fields=('tenant', 'name'), name='guardrail_name_per_tenant'), models.UniqueConstraint(condition=models.Q(('tenant', None)), fields=('name',), name='guardrail_name_of_platform', violation_error_message='The platform already has a guardrail of this name.'), models.CheckConstraint(condition=models.Q(('sealed_secret', ''), ('sealed_secret__startswith', 'v1.'), _connector='OR'), name='guardrail_secret_is_sealed')],
            },
        ),
        migrations.CreateModel(
            name='GuardrailEvent',
            fields=[
                ('id', models.UUIDField(default=gateway_project.lib.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('request_id', models.CharField(max_length=64)),
                ('key_public_id', models.CharField(blank=True, max_length=10)),
                ('at', models.DateTimeField(default=gateway_project.lib.clock.now)),
                ('guardrail_id', models.BigIntegerField()),
                ('guardrail', models.CharField(help_text='The name of the guardrail.', max_length=63)),
                ('is_platforms', models.BooleanField(default=False, help_text="The guardrail is the platform's.")),
                ('revision', models.PositiveIntegerField()),
                ('stage', models.CharField(choices=[('input', 'Input'), ('output', 'Output'), ('tools', 'Tool definitions')], max_length=8)),
                ('surface', models.CharField(blank=True, help_text='What was looked at, such as tool_output.', max_length=64)),
                ('rule', models.CharField(blank=True, max_length=100)),
                ('action', models.CharField(choices=[('monitored', 'Found and let through'), ('masked', 'Found and masked'), ('blocked', 'Found and blocked'), ('skipped', 'Could not be asked, let through'), ('unavailable', 'Could not be asked, refused')], max_length=16)),
                ('count', models.PositiveIntegerField(default=1)),
                ('offset', models.PositiveIntegerField(help_text='Where the first one begins, in characters of its text.', null=True)),
                ('length', models.PositiveIntegerField(help_text='How long the first one is.', null=True)),
                ('digest', models.CharField(blank=True, max_length=64)),
                ('latency_ms', models.PositiveIntegerField(help_text='How long an external check took.', null=True)),
                ('failure', models.CharField(blank=True, help_text='Why an external check could not be asked.', max_length=200)),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenants.tenant')),
            ],
            options={
                'ordering': ('-id',),
                'indexes': [models.Index(fields=['tenant', 'id'], name='guardrail_events_of_tenant'), models.Index(fields=['tenant', 'request_id'], name='guardrail_events_of_request'), models.Index(fields=['guardrail_id', 'id'], name='guardrail_events_of_one'), models.Index(fields=['at'], name='guardrail_events_by_time')],
            },
        ),
    ]
