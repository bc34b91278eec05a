"""Tell whether a database has all tables as the code knows them."""

from __future__ import annotations

import importlib.util
import pkgutil
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db import DatabaseError
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder


def has_every_migration(connection: Any) -> bool:
    """Tell by one question whether every migration is applied; a plan needs two, and a graph."""
    try:
        noted = set(MigrationRecorder(connection).migration_qs.values_list("app", "name"))
    except DatabaseError:  # there is no table of migrations yet
        return False
    return noted.issuperset(known())


def known() -> Iterator[tuple[str, str]]:
    """Name all migrations, as `app, name`, by their files: importing them takes longer than asking."""
    for app in apps.get_app_configs():
        package, _ = MigrationLoader.migrations_module(app.label)
        spec = None if package is None else importlib.util.find_spec(package)
        places = (spec and spec.submodule_search_locations) or ()
        for module in pkgutil.iter_modules(places):
            if not module.ispkg and module.name[0] not in "_~":
                yield app.label, module.name
