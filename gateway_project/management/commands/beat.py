"""beat: send the periodic tasks to the workers."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from gateway_project import celery_programs
from gateway_project.lib.commands import in_words


class Command(BaseCommand):
    help = "Tell the background workers when periodic tasks are due (TOLLGATE_TASKS=celery)."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            celery_programs.beat()
        except ValidationError as error:
            raise CommandError(in_words(error)) from error
