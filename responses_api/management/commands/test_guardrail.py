"""test_guardrail: what guardrails would do to a text."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from responses_api.enforcement import bench, setup
from responses_api.enforcement.bench import BenchQuestion
from tenants import directory
from tenants.access.access import OPERATOR


class Command(AnsweringCommand):
    help = (
        "Try guardrails on a text from a file or stdin. Nothing is stored, and no model is asked."
    )
    routes = ("POST guardrail-tests",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("name", nargs="?", help="of one guardrail; or give --key and --model")
        parser.add_argument("--tenant", help="of this tenant; of the platform when not given")
        parser.add_argument("--key", metavar="ID", help="all that apply to calls of this key")
        parser.add_argument("--model", default="", help="for this model")
        parser.add_argument(
            "--stage",
            default="input",
            choices=("input", "output", "tools"),
            help="where the text would stand; input by default",
        )
        parser.add_argument("--file", help="the text; stdin when not given")
        parser.add_argument(
            "--piece",
            type=int,
            default=0,
            metavar="N",
            help="as a stream of N characters at a time",
        )
        parser.add_argument("--external", action="store_true", help="ask external checks, too")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        if bool(options["name"]) == bool(options["key"]):
            raise ValidationError({"name": "Give the name of a guardrail, or --key."})
        if options["name"]:
            tenant = directory.tenant_or_platform(options["tenant"])
            applied = bench.of_row(setup.named(options["name"], tenant))
        else:
            applied = bench.of_key(directory.key(options["key"]), options["model"])
        text = Path(options["file"]).read_text() if options["file"] else sys.stdin.read()
        question = BenchQuestion(text, options["stage"], options["piece"], options["external"])
        found = bench.try_text(OPERATOR, applied, question)
        lines = [
            f"{found.outcome}: {len(found.spans)} found.",
            *(
                f"  {each.start}-{each.end} {each.guardrail}/{each.rule}: {each.action}"
                for each in found.spans
            ),
            *(
                f"  {each.guardrail}: {each.outcome} {each.rule or each.failure}".rstrip()
                for each in found.checks
            ),
            *(f"  {name}: not asked (give --external)" for name in found.not_asked),
            found.text,
        ]
        return CommandResult(dataclasses.asdict(found), "\n".join(lines))
