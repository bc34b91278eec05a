"""start_export: export requests to a file, by whoever does background work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants import directory
from tenants.access.access import OPERATOR
from tenants.api.long_work import told_task
from tenants.billing import spans
from tenants.long_work import usage_export
from tenants.management.row_words import plain


class Command(AnsweringCommand):
    help = "Begin to export requests to a file, as the console does. show_task tells how far it is."
    routes = ("POST exports",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--tenant", help="only this tenant; dates are of its time zone then")
        parser.add_argument("--from", help="date or instant; the month's beginning if left out")
        parser.add_argument("--to", help="date or instant; now if left out")
        parser.add_argument("--month", help="such as 2026-10")
        parser.add_argument("--alias", default="", help="only requests to this alias")
        parser.add_argument(
            "--format", choices=usage_export.FORMATS, default="csv", help="csv if left out"
        )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.tenant_or_platform(options["tenant"])
        start, end = spans.asked(options, tenant.time_zone if tenant else "UTC")
        task = usage_export.ask(
            OPERATOR, tenant, start, end, alias=options["alias"], written_as=options["format"]
        )
        text = (
            f"Task {task.pk} exports requests; fetch_task {task.pk} saves the file once it is done."
        )
        return CommandResult(plain(told_task(OPERATOR, task)), text)
