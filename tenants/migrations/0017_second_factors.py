from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0016_console_sessions'),
    ]

    operations = [
        migrations.AddField(
            model_name='tenant',
            name='requires_second_factor',
            field=models.BooleanField(default=False, help_text='Members see nothing of this tenant until they have set up a second factor.'),
        ),
    ]
