"""start_rerating: what another price would change of past requests, and, confirmed, does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from routing import rerating
from tenants import directory
from tenants.access.access import OPERATOR
from tenants.api.long_work import told_task
from tenants.billing import spans
from tenants.management.row_words import plain
from tenants.models import PriceVersion


class Command(AnsweringCommand):
    help = (
        "Begin to tell what another price would change of past requests. "
        "Nothing changes before confirm_task."
    )
    routes = ("POST reratings",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "version",
            type=int,
            help="a published price that tenants are charged; list_price_versions",
        )
        parser.add_argument("--tenant", help="only this tenant; dates are of its time zone then")
        parser.add_argument("--from", help="date or instant; the month's beginning if left out")
        parser.add_argument("--to", help="date or instant; now if left out")
        parser.add_argument("--month", help="such as 2026-10")
        parser.add_argument(
            "--with-unpriced",
            action="store_true",
            help="also requests that had no price, and were charged nothing",
        )
        parser.add_argument("--reason", required=True, help="why; kept with the corrections")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.tenant_or_platform(options["tenant"])
        start, end = spans.asked(options, tenant.time_zone if tenant else "UTC")
        version = PriceVersion.objects.filter(pk=options["version"]).first()
        if version is None:
            raise ValidationError({"version": f"There is no price version {options['version']}."})
        task = rerating.ask(
            OPERATOR,
            version,
            tenant,
            start,
            end,
            reason=options["reason"],
            with_unpriced=options["with_unpriced"],
        )
        text = (
            f"Task {task.pk} adds up what would change; show_task {task.pk} tells it, "
            f"and confirm_task {task.pk} has it done."
        )
        return CommandResult(plain(told_task(OPERATOR, task)), text)
