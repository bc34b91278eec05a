"""export_usage: rows of the ledger as JSON Lines."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway_project.lib.actor import acting
from gateway_project.lib.commands import (
    actor_of,
    add_progress_option,
    in_words,
    progress_of,
)
from tenants import directory
from tenants.audit import events
from tenants.billing import export, spans


class Command(BaseCommand):
    """Prints as many lines as there are rows, so it is no AnsweringCommand."""

    help = "Print the ledger's rows, one JSON object a line."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", help="only this tenant; dates are of its time zone then")
        parser.add_argument("--from", help="date or instant; the month's beginning if left out")
        parser.add_argument("--to", help="date or instant; now if left out")
        parser.add_argument("--month", help="such as 2026-10")
        add_progress_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            tenant = directory.tenant_or_platform(options["tenant"])
            start, end = spans.asked(options, tenant.time_zone if tenant else "UTC")
        except ValidationError as error:
            raise CommandError(in_words(error)) from error
        with acting(actor_of(type(self))):
            events.record(
                "usage.exported",
                tenant_id=tenant.pk if tenant else None,
                details={"from": start, "to": end},
            )
        lines = export.lines(tenant, start, end)
        for line in progress_of(options).over(lines, "rows"):
            self.stdout.write(line)
