"""Tell whether a database has all tables as the code knows them."""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder


def has_every_migration(connection: Any) -> bool:
    """Tell by one question whether every migration is applied; a plan needs two, and a graph."""
    try:
        noted = set(MigrationRecorder(connection).migration_qs.values_list("app", "name"))
    except DatabaseError:  # there is no table of migrations yet
        return False
    return noted.issuperset(MigrationLoader(None).disk_migrations)
