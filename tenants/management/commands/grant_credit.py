"""grant_credit: prepaid credit for a tenant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult, errors_of, parse_field
from tenants import directory
from tenants.billing import credits as prepaid
from tenants.billing import spans
from tenants.billing.money import dollars, parsed_cents


class Command(AnsweringCommand):
    help = "Give a tenant prepaid credit, once per reference."
    routes = ("POST credit",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--tenant", required=True, help="slug or name")
        parser.add_argument("--amount", required=True, help="dollars, such as 25.00")
        parser.add_argument(
            "--reference", required=True, help="grants once per reference, such as an order"
        )
        parser.add_argument("--expires", help="date or instant; never if left out")
        parser.add_argument("--priority", type=int, default=0, help="the lowest is spent first")
        parser.add_argument("--paid", action="store_true", help="the tenant bought it")
        parser.add_argument("--reason", default="", help="why; kept with the grant")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.tenant(options["tenant"])
        amount = parse_field("amount", parsed_cents, options["amount"])
        expires_at = spans.instant(options, "expires", tenant.time_zone)
        with errors_of("expires"):
            prepaid.check_expiry(tenant.pk, options["reference"], expires_at)
        movement = prepaid.grant(
            tenant.pk,
            amount,
            options["reference"],
            expires_at=expires_at,
            priority=options["priority"],
            is_paid=options["paid"],
            reason=options["reason"],
            actor="grant_credit",
        )
        balance = prepaid.balance(tenant.pk)
        fields = {
            "id": movement.pk,
            "tenant": tenant.slug,
            "reference": movement.reference,
            "amount_cents": amount,
            "balance_cents": balance,
        }
        return CommandResult(fields, f"{tenant.slug} has {dollars(balance)} USD of credit.")
