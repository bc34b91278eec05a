"""test_provider: ask a provider for its models, which costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_project.lib.commands import CommandResult
from routing import testing
from routing.api.catalogue import ProviderRows
from routing.api.figures import shown_test
from tenants.access.access import OPERATOR
from tenants.management.row_words import plain, told_in_lines
from tenants.management.rows import OneRowCommand


class Command(OneRowCommand):
    help = "Ask a provider for its models, which costs nothing. Exit code 1 if it does not answer well."
    rows = ProviderRows
    routes = ("POST providers/{key}/test",)

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        kept, models = testing.try_provider(OPERATOR, self.find(options))
        told = plain({**shown_test(kept), "models": models})
        return CommandResult(told, told_in_lines(told), ok=kept.ok)
