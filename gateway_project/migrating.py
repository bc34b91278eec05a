"""Bringing the database's tables up to date, cheaply when they are."""

from __future__ import annotations

from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from tenants import triggers


class Unguarded(Exception):
    """The database lacks triggers that keep the ledger as it is; the message says what to do."""


def pending() -> list[str]:
    """The migrations that have not been applied, as `app.name`."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def migrate() -> list[str]:
    """Apply what is pending and say what that was; with nothing to do, only the plan is computed."""
    names = pending()
    if names:
        call_command("migrate", interactive=False, verbosity=0)
    else:
        triggers.install()
    return names


def refuse_unguarded() -> None:
    """Raises Unguarded where the tables are up to date, but the database would let history be changed."""
    try:
        wrong = [] if pending() else triggers.differences()
    except DatabaseError:
        return  # it may come up later; readiness tells until then
    finally:
        connection.close()  # workers are forked from here
    if wrong:
        raise Unguarded(f"{wrong[0]} Run manage.py migrate, which puts every trigger back.")
