"""migrate: Django's, which waits only shortly for tables that are in use, and comes again."""

from __future__ import annotations

from typing import Any

from django.core.management.commands.migrate import Command as DjangosCommand

from gateway_project import migrating


class Command(DjangosCommand):
    """Django's command, patient with those who use the tables."""

    def handle(self, *args: Any, **options: Any) -> None:
        migrating.patiently(lambda: super(Command, self).handle(*args, **options))
