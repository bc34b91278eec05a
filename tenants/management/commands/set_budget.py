"""set_budget: what a tenant or one of its keys may spend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult, parse_field
from tenants import directory
from tenants.access.access import OPERATOR
from tenants.budgets import dollars
from tenants.managed.setting import put
from tenants.models import Budget


class Command(AnsweringCommand):
    help = "Make a budget, or change the one of this name."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--tenant", required=True, help="slug or name")
        parser.add_argument("--name", required=True, help="what the budget is called")
        parser.add_argument("--key", metavar="ID", help="of this key; of all together by default")
        parser.add_argument("--amount", required=True, metavar="DOLLARS", help="such as 25.00")
        parser.add_argument("--period", help="daily, weekly, monthly (by default) or total")
        parser.add_argument("--mode", help="hard (by default) or warn")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.tenant(options["tenant"])
        key = directory.key(options["key"]) if options["key"] else None
        names = {"tenant": tenant, "api_key": key, "name": options["name"]}
        given = {name: options[name] for name in ("period", "mode") if options[name] is not None}
        amount = parse_field("amount", dollars.to_nano, options["amount"])
        budget, is_new = put(OPERATOR, Budget, names, {"amount_nano": amount, **given})
        fields = {
            "id": budget.pk,
            "tenant": tenant.slug,
            "key": key.public_id if key else None,
            "name": budget.name,
            "amount": dollars.to_text(budget.amount_nano),
            "period": budget.period,
            "mode": budget.mode,
            "created": is_new,
        }
        told = f"${fields['amount']} {budget.period} ({budget.mode})"
        done = "made" if is_new else "set"
        return CommandResult(fields, f"Budget {budget.name!r} of {tenant.slug!r} {done}: {told}.")
