"""migrate: Django's own, one at a time on a database, and patient with those who use the tables."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands.migrate import Command as DjangosCommand

from gateway_project import migrating, preflight


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
            migrating.patiently(lambda: super(Command, self).handle(*args, **options))

    def _say_waiting(self) -> None:
        self.stderr.write("Another process is migrating this database; waiting until it has ended.")
