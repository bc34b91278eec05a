"""manage.py serve"""

from __future__ import annotations

import contextlib
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from gateway_project import preflight, quickstart
from gateway_project.lib import public_address
from gateway_project.lib.keyring import KeyringError
from gateway_project.serving import serve
from gateway_project.serving.detach import detach
from gateway_project.serving.handover import HandoverRefused
from gateway_project.serving.supervisor import PortInUse, TakeoverFailed
from gateway_project.serving.systemd import UnusableSocket
from gateway_project.serving.unready import UnreadyPort, ended_by_signals

# Each says in words why nothing is served.
REASONS = (
    PortInUse,
    HandoverRefused,
    TakeoverFailed,
    UnusableSocket,
    preflight.Unfit,
    KeyringError,
)


class Command(BaseCommand):
    help = "Serve the API and the console (uvicorn, uvloop, httptools)."
    # They are about the code, and import every route there is into every process (`make check` runs them).
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--host", default="127.0.0.1", help="the address to listen on; 127.0.0.1 by default"
        )
        parser.add_argument(
            "--port", type=int, default=8000, help="the port to listen on; 8000 by default"
        )
        parser.add_argument(
            "--workers",
            type=int,
            default=settings.WORKERS,
            help="how many processes; TOLLGATE_WORKERS by default, several need REDIS_URL",
        )
        parser.add_argument(
            "--quickstart",
            action="store_true",
            help="migrate and seed first, as `quickstart` does.",
        )
        preflight.add_wait_option(parser)
        parser.add_argument(
            "--takeover",
            action="store_true",
            help="Take the port over from the gateway that serves there, if one does, without refusing a "
            "call: once this one is ready the other stops accepting, ends its calls and exits.",
        )
        parser.add_argument(
            "--detach",
            action="store_true",
            help="Return once it serves, and go on in the background; exit code 1 if it never does.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["workers"] < 1:
            raise CommandError("--workers must be at least 1.")
        if options["workers"] > 1 and settings.REDIS_URL is None:
            raise CommandError(
                "Several workers count rate limits together through Redis: set REDIS_URL, or serve with one."
            )
        if not 0 <= options["port"] <= 65_535:
            raise CommandError(f"--port is {options['port']}; a port is a number up to 65535.")
        if options["takeover"] and not options["port"]:
            raise CommandError("--takeover needs the --port that is to be taken over.")
        settings.WORKERS = options["workers"]  # the workers share a limit where Redis is away
        tell_ready = detach() if options["detach"] else None

        def announce(line: str) -> None:
            try:
                self.stdout.write(line)
            finally:
                if tell_ready is not None:
                    tell_ready()

        try:
            if options["quickstart"]:
                self._quickstart(serve.address(options["host"], options["port"]))
            waited = self._wait(options)
            serve.run(
                options["host"],
                options["port"],
                options["workers"],
                announce,
                takes_over=options["takeover"],
                waited=waited,
            )
        except REASONS as error:
            raise CommandError(str(error)) from error

    def _wait(self, options: dict[str, Any]) -> UnreadyPort:
        """Wait for what may come by itself; meanwhile the port says that nothing is served yet."""
        takes_over = options["takeover"]
        port = UnreadyPort(
            options["host"], options["port"], self.stderr.write, takes_over=takes_over
        )
        with ended_by_signals(), contextlib.closing(port):
            preflight.await_fit(options["wait"], port.tell)
        return port

    def _quickstart(self, address: str) -> None:
        preflight.refuse_without_database()
        if quickstart.is_first():
            self.stdout.write("First start: making the database, which takes some seconds …")
            self.stdout.flush()
        ready = quickstart.ensure(public_address.api_url(otherwise=address))
        if ready.first_boot or ready.reissued:
            self.stdout.write(quickstart.announce(ready))
