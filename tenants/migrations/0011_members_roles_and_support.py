"""Roles of tenants' own, invitations, auditors, and operators who act as a tenant."""

import django.db.models.deletion
import gateway_project.lib.clock
import tenants.validators
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0010_usage_by_month'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Invitation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(blank=True, choices=[('owner', 'Owner'), ('admin', 'Admin'), ('developer', 'Developer'), ('billing', 'Billing'), ('viewer', 'Viewer')], max_length=16)),
                ('email', models.EmailField(blank=True, help_text='The link is sent there if Tollgate can send e-mail; it is shown to you in any case.', max_length=254, verbose_name='e-mail')),
                ('digest', models.BinaryField(max_length=32, unique=True)),
                ('pepper_id', models.CharField(max_length=16)),
                ('expires_at', models.DateTimeField()),
                ('used_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('created_at', models.DateTimeField(default=gateway_project.lib.clock.now, editable=False)),
                ('by_command', models.BooleanField(default=False, editable=False, help_text='Made by a command, so by an operator.')),
            ],
            options={
                'ordering': ('-created_at', '-pk'),
            },
        ),
        migrations.CreateModel(
            name='PlatformRole',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(choices=[('auditor', 'Auditor: reads everything but prompts and answers')], default='auditor', max_length=16)),
                ('created_at', models.DateTimeField(default=gateway_project.lib.clock.now, editable=False)),
            ],
            options={
                'ordering': ('user',),
            },
        ),
        migrations.CreateModel(
            name='SupportSession',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('operator_name', models.CharField(editable=False, max_length=150)),
                ('role', models.CharField(choices=[('owner', 'Owner'), ('admin', 'Admin'), ('developer', 'Developer'), ('billing', 'Billing'), ('viewer', 'Viewer')], default='viewer', max_length=16)),
                ('reason', models.CharField(max_length=300)),
                ('started_at', models.DateTimeField(default=gateway_project.lib.clock.now, editable=False)),
                ('ends_at', models.DateTimeField(editable=False, help_text='When it ends by itself, or ended before that.')),
            ],
            options={
                'ordering': ('-started_at', '-pk'),
            },
        ),
        migrations.AddField(
            model_name='tenant',
            name='shows_upstreams',
            field=models.BooleanField(default=True, help_text="Its people see the platform's providers and models, and which of them answered a call; otherwise only the aliases."),
        ),
        migrations.AlterField(
            model_name='membership',
            name='role',
            field=models.CharField(blank=True, choices=[('owner', 'Owner'), ('admin', 'Admin'), ('developer', 'Developer'), ('billing', 'Billing'), ('viewer', 'Viewer')], default='viewer', max_length=16),
        ),
        migrations.CreateModel(
            name='CustomRole',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=63, validators=[tenants.validators.validate_role_name])),
                ('permissions', models.JSONField(default=list, validators=[tenants.validators.validate_permissions])),
                ('created_at', models.DateTimeField(default=gateway_project.lib.clock.now, editable=False)),
                ('created_by', models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='custom_roles', to='tenants.tenant')),
            ],
            options={
                'ordering': ('tenant', 'name'),
            },
        ),
        migrations.AddField(
            model_name='membership',
            name='custom_role',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.RESTRICT, related_name='memberships', to='tenants.customrole'),
        ),
        migrations.AddConstraint(
            model_name='membership',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('custom_role__isnull', True), ('role__in', ['owner', 'admin', 'developer', 'billing', 'viewer'])), models.Q(('custom_role__isnull', False), ('role', '')), _connector='OR'), name='membership_has_one_role', violation_error_message="Choose one role: a built-in one or one of the tenant's."),
        ),
        migrations.AddField(
            model_name='invitation',
            name='created_by',
            field=models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='invitation',
            name='custom_role',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='invitations', to='tenants.customrole'),
        ),
        migrations.AddField(
            model_name='invitation',
            name='tenant',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='invitations', to='tenants.tenant'),
        ),
        migrations.AddField(
            model_name='invitation',
            name='used_by',
            field=models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='platformrole',
            name='user',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='platform_role', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='supportsession',
            name='operator',
            field=models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='supportsession',
            name='tenant',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='support_sessions', to='tenants.tenant'),
        ),
        migrations.AddConstraint(
            model_name='customrole',
            constraint=models.UniqueConstraint(fields=('tenant', 'name'), name='custom_role_name_once_per_tenant', violation_error_message='This tenant has a role of this name.'),
        ),
        migrations.AddIndex(
            model_name='invitation',
            index=models.Index(condition=models.Q(('revoked_at__isnull', True), ('used_at__isnull', True)), fields=['tenant'], name='invitations_not_over'),
        ),
        migrations.AddConstraint(
            model_name='invitation',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('custom_role__isnull', True), ('role__in', ['owner', 'admin', 'developer', 'billing', 'viewer'])), models.Q(('custom_role__isnull', False), ('role', '')), _connector='OR'), name='invitation_has_one_role', violation_error_message="Choose one role: a built-in one or one of the tenant's."),
        ),
        migrations.AddIndex(
            model_name='supportsession',
            index=models.Index(fields=['tenant', '-started_at'], name='support_of_tenant'),
        ),
    ]
