"""setup_provider: a provider with its credential, models and aliases in one go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from routing import provider_options, setup
from routing.api.setup import draft_of, told_trial
from routing.protocols import PROTOCOLS
from routing.setup import ChosenModel
from routing.vendors import VENDORS
from tenants import directory
from tenants.access.access import OPERATOR
from tenants.managed import typed
from tenants.management.row_words import plain, told_in_lines


class Command(AnsweringCommand):
    help = (
        "Make a provider, its credential, models and an alias for each, all or nothing; or ask an upstream "
        "that is not saved for its models."
    )
    routes = ("POST providers/setup", "POST providers/setup/test")

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("name", help="lower-case, used as provider/model")
        parser.add_argument(
            "--vendor",
            choices=sorted(vendor.name for vendor in VENDORS),
            help="says what the other options leave out",
        )
        parser.add_argument(
            "--protocol", choices=tuple(PROTOCOLS), help="which the upstream speaks"
        )
        parser.add_argument("--base-url", metavar="URL", help="up to and including /v1")
        parser.add_argument(
            "--auth", metavar="bearer|x-api-key|api-key|none", help="how the key is sent"
        )
        parser.add_argument(
            "--secret-env", metavar="VAR", help="variable (or VAR_FILE) with the key"
        )
        parser.add_argument(
            "--allow-private", action="store_true", help="may be at a private or loopback address"
        )
        parser.add_argument(
            "--quirk", action="append", metavar="K=V", help="repeatable; see add_provider"
        )
        parser.add_argument("--tenant", help="only for this tenant; every tenant when not given")
        parser.add_argument(
            "--model",
            action="append",
            default=[],
            metavar="MODEL[=ALIAS]",
            help="repeatable: the provider's name for a model, and the alias clients call it by",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="only ask the upstream for its models"
        )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        new = draft_of(OPERATOR, _body(options))
        if options["dry_run"]:
            trial = setup.try_out(OPERATOR, new)
            told = plain(told_trial(OPERATOR, new, trial))
            return CommandResult(told, told_in_lines(told), ok=trial.ok)
        chosen = [ChosenModel(*text.split("=", 1)) for text in options["model"]]
        made = setup.save(OPERATOR, new, chosen)
        fields = {
            "provider": made.provider.pk,
            "name": made.provider.name,
            "models": list(made.models),
            "aliases": list(made.aliases),
        }
        return CommandResult(fields, told_in_lines(fields))


def _body(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the API is sent for these options."""
    tenant, secret = (
        directory.tenant_or_platform(options["tenant"]),
        typed.secret(options["secret_env"]),
    )
    given = {
        "tenant": None if tenant is None else tenant.pk,
        "name": options["name"],
        "vendor": options["vendor"],
        "protocol": options["protocol"],
        "base_url": options["base_url"],
        "auth_kind": options["auth"],
        "secret": None if secret is None else secret.reveal(),
        "quirks": provider_options.quirks(options["quirk"]) if options["quirk"] else None,
        "allow_private_network": options["allow_private"],
    }
    return {name: value for name, value in given.items() if value is not None}
