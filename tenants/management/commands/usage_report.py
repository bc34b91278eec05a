"""usage_report: what was used and charged, in groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants import directory
from tenants.billing import report, spans


class Command(AnsweringCommand):
    help = "Show what was used, by key, alias, model, day, provider or tenant."
    routes = ("GET usage",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        groups = ("key", "alias", "model", "day", "provider", "tenant")
        parser.add_argument(
            "--by", choices=groups, default="alias", help="what a group is; alias by default"
        )
        parser.add_argument("--tenant", help="only this tenant; dates are of its time zone then")
        parser.add_argument("--from", help="date or instant; the month's beginning if left out")
        parser.add_argument("--to", help="date or instant; now if left out")
        parser.add_argument("--month", help="such as 2026-10")
        parser.add_argument("--csv", action="store_true", help="print comma-separated values")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.tenant_or_platform(options["tenant"])
        start, end = spans.asked(options, tenant.time_zone if tenant else "UTC")
        by = options["by"]
        found = report.rows(tenant, start, end, by)
        text = report.as_csv(found, by) if options["csv"] else report.table(found, by)
        span = {"from": start.isoformat(), "to": end.isoformat()}
        return CommandResult({**span, "by": by, "rows": found}, text)
