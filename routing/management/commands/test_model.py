"""test_model: the smallest real call to a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_project.lib.commands import CommandResult
from routing import testing
from routing.api.catalogue import ModelRows
from routing.api.figures import shown_test
from tenants.access.access import OPERATOR
from tenants.management.row_words import plain, told_in_lines
from tenants.management.rows import OneRowCommand


class Command(OneRowCommand):
    help = (
        "Send the smallest real call to a model; it costs what 16 tokens of output do. Exit code 1 if it "
        "fails."
    )
    rows = ModelRows
    routes = ("POST models/{key}/test",)

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        kept = testing.try_model(OPERATOR, self.find(options))
        told = plain(shown_test(kept))
        return CommandResult(told, told_in_lines(told), ok=kept.ok)
