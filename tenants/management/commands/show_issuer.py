"""show_issuer: who issues invoices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants.managed import billing_details


class Command(AnsweringCommand):
    help = "Show who issues invoices, by which terms and tax."

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        return billing_details.show(None)
