"""background_worker: run what TOLLGATE_TASKS=celery leaves to workers."""

from __future__ import annotations

import sys
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway_project import celery_programs, preflight
from gateway_project.lib.commands import in_words
from gateway_project.serving.unready import ended_by_signals


class Command(BaseCommand):
    help = "Run background responses and periodic tasks until stopped (TOLLGATE_TASKS=celery)."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--concurrency",
            type=int,
            default=celery_programs.CONCURRENCY,
            help="how many tasks run concurrently",
        )
        parser.add_argument(
            "--queues",
            default=",".join(celery_programs.QUEUES),
            help="which queues to serve, separated by commas",
        )
        preflight.add_wait_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        queues = [name.strip() for name in options["queues"].split(",") if name.strip()]
        try:
            celery_programs.check_worker(options["concurrency"], queues)
            with ended_by_signals():
                preflight.await_fit(options["wait"], self._tell_waiting)
            sys.exit(celery_programs.worker(options["concurrency"], queues))
        except ValidationError as error:
            raise CommandError(in_words(error)) from error
        except preflight.Unfit as error:
            raise CommandError(str(error)) from error

    def _tell_waiting(self, reason: preflight.NotYetFit) -> None:
        self.stderr.write(f"Waiting: {reason}")
