"""On PostgreSQL, links between rows of tenants get composite foreign keys, without copying a row.

An index is built while others write, and a key counts for new rows before the old ones are looked at. Where
old rows break one it stays that way, and `migrate` and `doctor` name them. Run again, it goes on where it stopped.
The triggers beside these keys, and all of SQLite's, are made after every migration (tenants/triggers.py).
"""

from django.db import migrations

from tenants.walls import composites


def add_keys(apps, editor):
    composites.add(editor.connection, composites.OF_RESPONSES)


def drop_keys(apps, editor):
    composites.drop(editor.connection, composites.OF_RESPONSES)


class Migration(migrations.Migration):
    # An index can be built beside writers only where no transaction is open.
    atomic = False

    dependencies = [("responses_api", "0002_run_suspected_at")]

    operations = [migrations.RunPython(add_keys, drop_keys, elidable=False)]
