"""migrate: Django's own, one at a time on a database, and patient with those who use the tables."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands.migrate import Command as DjangosCommand
from django.db import connections

from gateway_project import migrating, preflight
from gateway_project.lib import new_tables

# With these, something else is asked for than all tables.
_NOT_EVERYTHING = ("app_label", "fake", "fake_initial", "prune")


class Command(DjangosCommand):
    help = "Bring the database's tables up to date. Of several at once one works, the others wait."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            preflight.refuse_without_database()
        except preflight.Unfit as error:
            raise CommandError(str(error)) from error
        if options["plan"] or options["check_unapplied"]:  # these only look
            super().handle(*args, **options)
            return
        with migrating.one_at_a_time(self._say_waiting):
            migrating.patiently(lambda: self._migrate(*args, **options))

    def _migrate(self, *args: Any, **options: Any) -> None:
        if not any(options[name] for name in _NOT_EVERYTHING):
            made = new_tables.make(connections[options["database"]])
            if made and options["verbosity"] > 0:
                self.stdout.write(f"Made the tables of an empty database, as {made} migrations do.")
        super().handle(*args, **options)  # sends the signals, which is all there is left after that

    def _say_waiting(self) -> None:
        self.stderr.write("Another process is migrating this database; waiting until it has ended.")
