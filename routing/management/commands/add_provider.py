"""add_provider: a new upstream, with its credential."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from routing import catalogue, provider_advice, provider_options
from routing.protocols import PROTOCOLS
from tenants import directory
from tenants.managed import typed


class Command(AnsweringCommand):
    help = "Add an upstream. Its secret is read from an environment variable, never from an option."
    routes = ("POST providers",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("name", help="lower-case, used as provider/model")
        parser.add_argument(
            "--protocol",
            required=True,
            metavar="|".join(PROTOCOLS),
            help="which the upstream speaks",
        )
        parser.add_argument("--base-url", required=True, help="up to and including /v1")
        parser.add_argument(
            "--secret-env", metavar="VAR", help="variable (or VAR_FILE) with the key"
        )
        parser.add_argument("--auth", metavar="bearer|x-api-key|api-key|none", help="see docs")
        parser.add_argument(
            "--allow-private", action="store_true", help="may be at a private or loopback address"
        )
        parser.add_argument(
            "--forward-trace-context",
            action="store_true",
            help="its calls carry traceparent and tracestate",
        )
        parser.add_argument("--tenant", help="only for this tenant; every tenant when not given")
        parser.add_argument(
            "--quirk",
            action="append",
            default=[],
            metavar="K=V",
            help="may be repeated; translate=true puts a dialect's answers into the standard shape",
        )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        new = catalogue.NewProvider(
            name=options["name"],
            protocol=options["protocol"],
            base_url=options["base_url"],
            auth_kind=options["auth"] or provider_options.usual_auth(options["protocol"]),
            quirks=provider_options.quirks(options["quirk"]),
            allow_private_network=options["allow_private"],
            secret=typed.secret(options["secret_env"]),
            forward_trace_context=options["forward_trace_context"],
            tenant=directory.tenant_or_platform(options["tenant"]),
        )
        provider = catalogue.add_provider(new)
        fields: dict[str, Any] = {
            "name": provider.name,
            "protocol": provider.protocol,
            "base_url": provider.base_url,
            "auth": provider.auth_kind,
            "has_credential": new.secret is not None,
            "warnings": provider_advice.warnings(new),
        }
        told = [new.in_words(), *(f"Warning: {warning}" for warning in fields["warnings"])]
        return CommandResult(fields, "\n".join(told))
