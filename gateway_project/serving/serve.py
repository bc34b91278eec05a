"""What `manage.py serve` does: bind, start the ingester and the sandbox, supervise the workers."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

from django.conf import settings

from gateway_project.serving import resources, sandbox
from gateway_project.serving.supervisor import Supervisor, bind
from tenants.ledger.ingester import run_forever


def address(host: str, port: int) -> str:
    """How a client on this machine writes the server's address."""
    wildcards = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104  # named, not bound to
    shown = wildcards.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


def run(host: str, port: int, workers: int, say: Callable[[str], object]) -> None:
    """Serve until told to stop. Raises PortInUse."""
    resources.raise_file_limit()
    resources.share_one_arena()
    listener = bind(host, port)
    importlib.import_module(
        "gateway_project.asgi"
    )  # once, before the fork, so that memory is shared

    def announce() -> None:
        where = address(host, listener.getsockname()[1])
        say(f"Tollgate serves {where}/v1, console at {where}/console/ (stop with Ctrl-C).")
        sys.stdout.flush()  # whoever waits for this line through a pipe must not wait for ever

    def ingest() -> None:
        run_forever(settings.SPOOL_DIR, settings.SPOOL_ARCHIVE_DAYS)

    helpers = {"ingester": ingest, **sandbox.helper()}
    Supervisor(listener, workers, announce).run(helpers)
