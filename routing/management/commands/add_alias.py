"""add_alias: the name clients use, and the targets behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from routing import catalogue
from tenants import directory


class Command(AnsweringCommand):
    help = "Add an alias, or replace the targets of an existing one."
    routes = ("POST aliases",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("alias", help="the model name clients send")
        parser.add_argument(
            "--target",
            action="append",
            default=[],
            metavar="PROVIDER/MODEL",
            help="repeatable, the preferred one first",
        )
        parser.add_argument(
            "--link",
            metavar="ALIAS",
            help="instead of targets: another name, for this tenant, of an alias of the platform",
        )
        parser.add_argument("--tenant", help="only for this tenant; every tenant when not given")
        parser.add_argument(
            "--native-only",
            action="store_true",
            help="refuse upstreams that do not speak Responses",
        )
        parser.add_argument(
            "--drop-unsupported",
            action="store_true",
            help="drop parameters the upstream does not support, instead of refusing them",
        )

        parser.add_argument(
            "--store-by-default",
            "--store",
            dest="store",
            choices=catalogue.STORE_CHOICES,
            default="tenant",
            metavar="true|false|none",
            help="whether to store a response whose request does not say; none, the default: the tenant "
            "decides (--store, and yes, no and tenant, are its former words)",
        )
        parser.add_argument(
            "--resumable",
            action="store_true",
            help="stored streams go on when the client leaves, and can be resumed",
        )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        new = catalogue.NewAlias(
            name=options["alias"],
            targets=options["target"],
            link=options["link"],
            native_only=options["native_only"],
            drop_unsupported=options["drop_unsupported"],
            store_by_default=catalogue.STORE_CHOICES[options["store"]],
            resumable_streams=options["resumable"],
            tenant=directory.tenant_or_platform(options["tenant"]),
        )
        saved = catalogue.save_alias(new)
        fields = {
            "alias": saved.alias.name,
            "targets": list(new.targets),
            "link": new.link,
            "replaced": saved.replaced,
            "new_models": saved.new_models,
        }
        return CommandResult(fields, saved.in_words())
