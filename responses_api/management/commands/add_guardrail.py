"""add_guardrail: something that may not pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from responses_api.enforcement import setup
from responses_api.models import Guardrail
from tenants.managed import typed


class Command(AnsweringCommand):
    help = "Add a guardrail. A secret is read from an environment variable, never from an option."
    routes = ("POST guardrails",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("name", help="what clients, events and headers call it")
        parser.add_argument("--tenant", help="only for this tenant; every tenant when not given")
        parser.add_argument("--alias", help="only for calls of this alias")
        parser.add_argument(
            "--key", dest="api_key", metavar="ID", help="only for calls of this key"
        )
        parser.add_argument(
            "--kind",
            required=True,
            choices=Guardrail.Kind.values,
            help="what it looks for, or whom it asks",
        )
        parser.add_argument(
            "--action", choices=Guardrail.Action.values, help="what it does; block by default"
        )
        parser.add_argument(
            "--stage",
            action="append",
            dest="stages",
            choices=("input", "output", "tools"),
            help="repeatable; the input by default",
        )
        parser.add_argument("--config", default="{}", metavar="JSON", help="what it looks for")
        parser.add_argument("--reversible", action="store_true", help="put masked values back")
        parser.add_argument("--url", default="", help="where an external check is asked")
        parser.add_argument("--provider", help="instead: the provider of a moderation service")
        parser.add_argument("--secret-env", metavar="VAR", help="variable (or VAR_FILE) with it")
        parser.add_argument(
            "--allow-private-network",
            action="store_true",
            help="may be at a private or loopback address",
        )
        parser.add_argument(
            "--on-failure",
            choices=Guardrail.OnFailure.values,
            help="what happens while an external check cannot be asked; closed by default",
        )
        parser.add_argument(
            "--timeout-ms", type=int, help="how long an external check may take; 2000 by default"
        )
        parser.add_argument("--parallel", action="store_true", help="ask while the model is asked")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        names = (
            "alias", "api_key", "kind", "action", "stages", "reversible", "url", "provider",
            "allow_private_network", "on_failure", "timeout_ms", "parallel",
        )  # fmt: skip
        given = {name: options[name] for name in names}
        given["config"] = setup.read_config(options["config"])
        given |= setup.secret_of(typed.secret(options["secret_env"]))
        made = setup.add(options["name"], options["tenant"], given)
        fields = setup.fields_of(made.row)
        text = f"Added {setup.in_words(made.row)}."
        if made.secret is not None:
            fields["secret"] = made.secret.reveal()
            text += f"\nIts webhook is signed with {fields['secret']}, which is shown only now."
        return CommandResult(fields, text)
