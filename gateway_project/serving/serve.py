"""Implement `manage.py serve`: bind, start the ingester and the sandbox, supervise the workers."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import socket
import sys
from collections.abc import Callable
from types import ModuleType

from django.apps import apps
from django.conf import settings

from gateway_project.lib import public_address
from gateway_project.serving import handover, resources, sandbox, systemd
from gateway_project.serving.handover import HandoverSocket, Predecessor
from gateway_project.serving.metrics import port as metrics_port
from gateway_project.serving.succession import Succession
from gateway_project.serving.supervisor import Supervisor, bind, prepare
from gateway_project.serving.unready import UnreadyPort
from tenants.ledger.ingester import run_forever
from tenants.members import console_address

# What rest_framework imports for features of its own that are not used here, because it is installed. With
# what these import it is a tenth of a gateway's memory at rest.
UNUSED_OPTIONS = ("requests", "pygments", "yaml", "django.contrib.postgres")
# What every worker imports when it begins.
OF_WORKERS = ("uvicorn.lifespan.on", "uvicorn.loops.uvloop")
WITH_REDIS = (
    "gateway_project.lib.announcements",
    "responses_api.cache.leases",
    "routing.health.sharing",
    "tenants.limits.shared",
)


def address(host: str, port: int) -> str:
    """Return the address by which a client on this machine reaches the server."""
    wildcards = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104  # named, not bound to
    shown = wildcards.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


def import_rest_framework() -> None:
    """Import it without what it would take along for features that are not used."""
    absent: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]  # None: cannot be imported
    hidden = [name for name in UNUSED_OPTIONS if name not in absent]
    absent.update(dict.fromkeys(hidden))
    try:
        importlib.import_module("rest_framework.compat")
    finally:
        for name in hidden:
            del absent[name]


def load_application(*, with_console: bool) -> None:
    """Import what serves, once, before the fork: its memory is shared, and a worker begins sooner."""
    import_rest_framework()
    for name in (*OF_WORKERS, *(WITH_REDIS if settings.REDIS_URL is not None else ())):
        importlib.import_module(name)
    importlib.import_module("gateway_project.asgi")
    # Routes of the console and of the management API are imported when they are first asked for.
    importlib.import_module(settings.ROOT_URLCONF)
    if with_console:
        importlib.import_module("gateway_project.console_urls")


@functools.cache  # what is found stays found
def prepare_models() -> None:
    """Let Django find out once what it would find out in every process: fields, relations, names of columns.

    What it finds is kept on the models, and writing it there would part the pages they lie in.
    """
    for model in apps.get_models():
        assert model._meta.related_objects is not None
        str(model._base_manager.all().query)


def run(
    host: str,
    port: int,
    workers: int,
    say: Callable[[str], object],
    *,
    takes_over: bool = False,
    waited: UnreadyPort | None = None,
) -> None:
    """Serve until told to stop, or until another gateway takes over. With `takes_over` the one that serves
    there is followed, if there is one. `waited`: the port, if it was opened already.

    Raise PortInUse, HandoverRefused, TakeoverFailed or UnusableSocket.
    """
    resources.raise_file_limit()
    resources.share_one_arena()
    path = handover.socket_path(settings.DATA_DIR, host, port)
    predecessor = handover.ask(path) if takes_over else None
    listener, is_activated = _listen(host, port, predecessor, waited)
    metrics = metrics_port.helper()
    # Of several workers, each would come to hold the console for itself.
    load_application(with_console=workers > 1)
    prepare_models()
    inherited = {} if predecessor is None else predecessor.listeners
    listeners = {"api": listener, "sandbox": sandbox.listen(inherited.get("sandbox"))}
    if predecessor is not None:
        predecessor.close_all_but(listeners)
    ingest = functools.partial(
        run_forever, settings.SPOOL_DIR, settings.SPOOL_ARCHIVE_DAYS, settings.MEASURED_DIR
    )
    helpers: dict[str, Callable[[], None]] = {"ingester": ingest, **metrics}
    helpers |= sandbox.helper(listeners["sandbox"])
    path = handover.socket_path(settings.DATA_DIR, host, port or listener.getsockname()[1])
    handed_over = {name: each for name, each in listeners.items() if each is not None}
    endpoint = HandoverSocket(path, handed_over, is_activated=is_activated)
    gc.collect()
    gc.freeze()  # no collection of a child writes to what was loaded here, so that it stays shared
    succession = Succession(endpoint, predecessor, is_activated)
    announce = functools.partial(_announce, say, address(*listener.getsockname()[:2]))
    Supervisor(listener, workers, announce, succession).run(helpers)


def _announce(say: Callable[[str], object], where: str) -> None:
    """Say where it serves; that nobody listens any more is no reason to end."""
    console, reached = where, ""
    if settings.PUBLIC_URL:
        console, reached = console_address.of(), f", reached at {public_address.api_url()}"
    with contextlib.suppress(OSError):
        say(
            f"Tollgate serves {where}/v1{reached}, console at {console}/console/ (stop with Ctrl-C)."
        )
        sys.stdout.flush()  # whoever waits for this line through a pipe must not wait for ever


def _listen(
    host: str, port: int, predecessor: Predecessor | None, waited: UnreadyPort | None
) -> tuple[socket.socket, bool]:
    """Return the predecessor's listening socket, else that on which we have waited, else systemd's, else one
    of our own; and whether it is systemd's.
    """
    if predecessor is not None:
        return prepare(predecessor.listeners["api"]), predecessor.is_activated
    if waited is not None and waited.listener is not None:
        return prepare(waited.listener), waited.is_activated
    passed = systemd.listener()
    if passed is not None:
        return prepare(passed), True
    return bind(host, port), False
