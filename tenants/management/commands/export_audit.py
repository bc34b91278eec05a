"""export_audit: the audit log as JSON Lines."""

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
from tenants.audit import events, export
from tenants.billing import spans
from tenants.reports.audit import AuditFilter


class Command(BaseCommand):
    """Prints as many lines as there are events, so it is no AnsweringCommand."""

    help = "Print the audit log, one JSON object a line, in the form that is hashed."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", help="only this tenant's log; dates are of its time zone")
        parser.add_argument("--from", help="date or instant; the beginning if left out")
        parser.add_argument("--to", help="date or instant; now if left out")
        add_progress_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            tenant = directory.tenant_or_platform(options["tenant"])
            zone = tenant.time_zone if tenant else "UTC"
            start, end = (spans.instant(options, name, zone) for name in ("from", "to"))
        except ValidationError as error:
            raise CommandError(in_words(error)) from error
        with acting(actor_of(type(self))):
            events.record(
                "audit.exported",
                tenant_id=tenant.pk if tenant else None,
                details={"from": start, "to": end},
            )
        tenants = None if tenant is None else [tenant.pk]
        lines = export.lines(tenants, AuditFilter(start=start, end=end))
        for line in progress_of(options).over(lines, "events"):
            self.stdout.write(line)
