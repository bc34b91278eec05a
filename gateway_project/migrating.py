"""Bring the database's tables up to date, cheaply when they already are."""

from __future__ import annotations

from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from tenants import triggers


def pending() -> list[str]:
    """Return the unapplied migrations as `app.name`."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def migrate() -> list[str]:
    """Apply pending migrations and say which; with nothing to do, only the plan is computed."""
    names = pending()
    if names:
        call_command("migrate", interactive=False, verbosity=0)
    else:
        triggers.install()
    return names
