"""On PostgreSQL the ledger becomes a table of partitions, without copying a row.

1. A CHECK says which ids the existing table holds; it is validated while others read and write.
2. In one short transaction that table becomes the partition of all that is older than the first month.

Nothing here names a column, so that it fits whatever columns there are. Run again, it goes on where it stopped.
"""

from datetime import UTC, datetime
from functools import partial

from django.core.management import CommandError
from django.db import migrations, transaction

from gateway_project.lib import clock, ids
from tenants.billing.instants import month_of
from tenants.ledger.partitions import DEFAULT, TABLE, attempt, make, missing_months

BEFORE = f"{TABLE}_before"
CHECK = "usage_ids_before_first_month"


def divide(apps, editor):
    if editor.connection.vendor != "postgresql":
        return
    with editor.connection.cursor() as cursor:
        if not _is_divided(cursor):
            _refuse_views(cursor)
            with transaction.atomic(using=editor.connection.alias):
                is_done = _divide_empty(cursor)
            if not is_done:
                bound = _check(cursor, _bound(_newest(cursor)))
                with transaction.atomic(using=editor.connection.alias):
                    _attach(cursor, bound)
    for month in missing_months(clock.now()):
        if not attempt(partial(make, month)):
            break  # the table is busy; the periodic job makes the rest


def _is_divided(cursor):
    cursor.execute("SELECT relkind = 'p' FROM pg_class WHERE oid = %s::regclass", [TABLE])
    return cursor.fetchone()[0]


def _refuse_views(cursor):
    cursor.execute(
        "SELECT DISTINCT r.ev_class::regclass::text FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid "
        "WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid = %s::regclass",
        [TABLE],
    )
    if views := [name for (name,) in cursor.fetchall()]:
        raise CommandError(
            f"These views read {TABLE} and would miss what comes from now on: {', '.join(sorted(views))}. "
            "Drop them, migrate, and make them again."
        )


def _divide_empty(cursor):
    """If there are no rows, leave this month to a partition of its own; return whether that was so."""
    if _newest(cursor) is not None:
        return False
    cursor.execute(f'LOCK TABLE "{TABLE}" IN ACCESS EXCLUSIVE MODE')
    if _newest(cursor) is not None:
        return False
    month, _ = month_of(clock.now(), "UTC")
    _attach(cursor, _check(cursor, month))
    return True


def _newest(cursor):
    """The time in the last id."""
    cursor.execute(f'SELECT id FROM "{TABLE}" ORDER BY id DESC LIMIT 1')
    last = cursor.fetchone()
    return datetime.fromtimestamp((last[0].int >> 80) / 1000, UTC) if last else None


def _bound(newest):
    """More than a month from now, so that rows that come meanwhile are within the bound."""
    _, following = month_of(max(newest, clock.now()), "UTC")
    return month_of(following, "UTC")[1]


def _check(cursor, end):
    """Have every id be from before then; return the least id that is not."""
    bound = ids.first_uuid7(end)
    cursor.execute(f'ALTER TABLE "{TABLE}" DROP CONSTRAINT IF EXISTS {CHECK}')
    cursor.execute(f"ALTER TABLE \"{TABLE}\" ADD CONSTRAINT {CHECK} CHECK (id < '{bound}') NOT VALID")
    cursor.execute(f'ALTER TABLE "{TABLE}" VALIDATE CONSTRAINT {CHECK}')
    return bound


def _attach(cursor, bound):
    cursor.execute(f'LOCK TABLE "{TABLE}" IN ACCESS EXCLUSIVE MODE')
    definitions = _definitions(cursor)
    for kind, name in _named(cursor):
        cursor.execute(
            f'DROP TRIGGER "{name}" ON "{TABLE}"'
            if kind == "trigger"
            else f'ALTER INDEX "{name}" RENAME TO "{name[:56]}_before"'
        )
    cursor.execute(f'ALTER TABLE "{TABLE}" RENAME TO "{BEFORE}"')
    cursor.execute(
        f'CREATE TABLE "{TABLE}" (LIKE "{BEFORE}" INCLUDING ALL EXCLUDING INDEXES) PARTITION BY RANGE (id)'
    )
    cursor.execute(f'ALTER TABLE "{TABLE}" DROP CONSTRAINT {CHECK}')
    for definition in definitions:
        cursor.execute(definition)
    cursor.execute(
        f"ALTER TABLE \"{TABLE}\" ATTACH PARTITION \"{BEFORE}\" FOR VALUES FROM (MINVALUE) TO ('{bound}')"
    )
    cursor.execute(f'ALTER TABLE "{BEFORE}" DROP CONSTRAINT {CHECK}')
    cursor.execute(f'CREATE TABLE "{DEFAULT}" PARTITION OF "{TABLE}" DEFAULT')


def unite(apps, editor):
    """Copy all partitions into one table again."""
    if editor.connection.vendor != "postgresql":
        return
    with editor.connection.cursor() as cursor, transaction.atomic(using=editor.connection.alias):
        cursor.execute(f'LOCK TABLE "{TABLE}" IN ACCESS EXCLUSIVE MODE')
        definitions = _definitions(cursor)
        whole = f"{TABLE}_whole"
        cursor.execute(f'CREATE TABLE "{whole}" (LIKE "{TABLE}" INCLUDING ALL EXCLUDING INDEXES)')
        cursor.execute(f'INSERT INTO "{whole}" SELECT * FROM "{TABLE}"')
        cursor.execute(f'DROP TABLE "{TABLE}"')
        cursor.execute(f'ALTER TABLE "{whole}" RENAME TO "{TABLE}"')
        for definition in definitions:
            cursor.execute(definition)


def _definitions(cursor):
    """The statements that make the table's keys, indexes, triggers and grants."""
    cursor.execute(
        """
        SELECT format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', conrelid::regclass, conname,
                      pg_get_constraintdef(oid))
        FROM pg_constraint WHERE conrelid = %(table)s::regclass AND contype IN ('p', 'u')
        UNION ALL
        SELECT pg_get_indexdef(indexrelid) FROM pg_index i WHERE indrelid = %(table)s::regclass
        AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid)
        UNION ALL
        SELECT pg_get_triggerdef(oid) FROM pg_trigger
        WHERE tgrelid = %(table)s::regclass AND NOT tgisinternal
        UNION ALL
        SELECT format('GRANT %%s ON %%s TO %%s%%s', privilege_type, c.oid::regclass,
                      CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
                      CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
        FROM pg_class c, aclexplode(c.relacl) WHERE c.oid = %(table)s::regclass AND grantee <> c.relowner
        """,
        {"table": TABLE},
    )
    return [definition for (definition,) in cursor.fetchall()]


def _named(cursor):
    """Return the kind and name of each trigger and index, whose names the new table needs."""
    cursor.execute(
        """
        SELECT 'trigger', tgname FROM pg_trigger WHERE tgrelid = %(table)s::regclass AND NOT tgisinternal
        UNION ALL
        SELECT 'index', relname FROM pg_index JOIN pg_class c ON c.oid = indexrelid
        WHERE indrelid = %(table)s::regclass
        """,
        {"table": TABLE},
    )
    return cursor.fetchall()


class Migration(migrations.Migration):
    # Validating must not happen under the lock that adding the constraint takes.
    atomic = False

    dependencies = [("tenants", "0009_units_and_attempts")]

    operations = [migrations.RunPython(divide, unite, elidable=False)]
