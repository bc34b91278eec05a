"""sandbox: serve the built-in fake provider."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from gateway_project.sandbox import cli


class Command(BaseCommand):
    help = "Serve the sandbox upstream until interrupted. Prints its base URL when it is ready."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--host", default="127.0.0.1", help="the address to listen on; 127.0.0.1 by default"
        )
        parser.add_argument(
            "--port",
            type=int,
            default=settings.SANDBOX_PORT,
            help="TOLLGATE_SANDBOX_PORT by default; 0 picks a free one",
        )
        parser.add_argument("--log", metavar="FILE", help="append one JSON line for every call")
        parser.add_argument("--log-bodies", action="store_true", help="with the requests' bodies")
        parser.add_argument("--require-key", metavar="KEY", help="answer 401 to any other key")
        parser.add_argument("--list-faults", action="store_true", help="print the faults and exit")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["list_faults"]:
            self.stdout.write(cli.fault_list())
            return
        cli.serve_forever(
            options["host"],
            options["port"],
            log_path=options["log"],
            log_bodies=options["log_bodies"],
            require_key=options["require_key"],
        )
