"""set_budget: what a tenant or one of its keys may spend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult, errors_as, parse_field
from tenants import directory
from tenants.access.access import OPERATOR
from tenants.api.money import BudgetRows
from tenants.budgets import dollars
from tenants.managed.setting import put
from tenants.management.row_options import RowOption, options_of, values_of
from tenants.models import Budget


class Command(AnsweringCommand):
    help = "Make a budget, or change the one of this name."
    routes = ("POST budgets", "PATCH budgets/{key}")

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--tenant", required=True, help="slug or name")
        parser.add_argument("--name", required=True, help="what the budget is called")
        parser.add_argument("--key", metavar="ID", help="of this key; of all together by default")
        parser.add_argument(
            "--amount", metavar="DOLLARS", help="such as 25.00; needed for a new one"
        )
        parser.add_argument("--period", help="daily, weekly, monthly (by default) or total")
        parser.add_argument("--mode", help="hard (by default) or warn")
        for option in _further():
            option.add_to(parser, None)

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.tenant(options["tenant"])
        key = directory.key(options["key"]) if options["key"] else None
        names = {"tenant": tenant, "api_key": key, "name": options["name"]}
        given = {name: options[name] for name in ("period", "mode") if options[name] is not None}
        if options["amount"] is not None:
            given["amount_nano"] = parse_field("amount", dollars.to_nano, options["amount"])
        given |= values_of(_further(), options, tenant)
        with errors_as({"amount_nano": "amount"}):
            budget, is_new = put(OPERATOR, Budget, names, given)
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


def _further() -> list[RowOption]:
    """Return the options that are as the API has their fields."""
    names = {"thresholds", "alert_emails", "counts_list_price", "enabled"}
    return [option for option in options_of(BudgetRows, is_new=True) if option.name in names]
