"""seed_demo: made-up tenants, keys and calls of 90 days."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.demo import seeding
from gateway_project.lib.commands import (
    AnsweringCommand,
    CommandResult,
    add_progress_option,
    progress_of,
)


class Command(AnsweringCommand):
    help = "Fill an empty installation with made-up tenants, keys and calls of 90 days."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--requests", type=int, default=5_000, help="how many, by default 5000")
        parser.add_argument("--seed", type=int, default=1, help="another one makes other traffic")
        parser.add_argument(
            "--beside-data",
            action="store_true",
            help="do it although there is usage already; it cannot be taken out again",
        )
        add_progress_option(parser)

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        made = seeding.seed(
            options["requests"],
            options["seed"],
            beside_data=options["beside_data"],
            progress=progress_of(options),
        )
        told = (
            f"Made {made.tenants} tenants, {made.keys} keys, {made.requests:,} requests in "
            f"{made.rows:,} rows, {made.budgets} budgets, {made.invoices} invoices and "
            f"{made.responses} stored responses in {made.seconds} s."
        )
        return CommandResult(dataclasses.asdict(made), told)
