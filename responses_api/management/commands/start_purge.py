"""start_purge: how much a tenant has stored before a moment, which, confirmed, is deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult, errors_of
from responses_api.storage import purging
from tenants import directory
from tenants.access.access import OPERATOR
from tenants.api.long_work import told_task
from tenants.managed import typed
from tenants.management.row_words import plain


class Command(AnsweringCommand):
    help = (
        "Begin to count what a tenant has stored from before a moment, to delete it. "
        "Nothing is deleted before confirm_task."
    )
    routes = ("POST purges",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("tenant", help="whose: a tenant's slug or name")
        parser.add_argument(
            "--before",
            required=True,
            metavar="INSTANT",
            help="what is older goes: an instant, a date (UTC), or so long ago: 90d",
        )
        parser.add_argument(
            "--kind",
            action="append",
            choices=tuple(purging.KINDS),
            help="only this kind; may be repeated; all of them if left out",
        )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.tenant(options["tenant"])
        with errors_of("before"):
            before = typed.instant(options["before"], is_past=True)
        kinds = options["kind"] or list(purging.KINDS)
        task = purging.ask(OPERATOR, tenant, before, kinds)
        text = (
            f"Task {task.pk} counts what would be deleted; show_task {task.pk} tells it, "
            f"and confirm_task {task.pk} has it done."
        )
        return CommandResult(plain(told_task(OPERATOR, task)), text)
