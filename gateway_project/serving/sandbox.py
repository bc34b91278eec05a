"""Run the sandbox beside the workers when a provider points at it."""

from __future__ import annotations

import http.client
import logging
import socket
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

from gateway_project.sandbox.cli import serve_forever
from routing.models import Provider

logger = logging.getLogger("tollgate.serve")

HOST = "127.0.0.1"
VENDOR = "sandbox"
MAX_ANSWER_BYTES = 4096
BACKLOG = 4096


def listen(inherited: socket.socket | None) -> socket.socket | None:
    """Return where to run a sandbox, or None if no provider needs one from us. `inherited`: where the gateway
    runs one that we take over from.
    """
    providers = list(Provider.objects.filter(vendor=VENDOR, enabled=True))
    ports = {urlsplit(p.base_url).port for p in providers if urlsplit(p.base_url).hostname == HOST}
    if inherited is not None:
        if inherited.getsockname()[1] in ports:
            return inherited
        inherited.close()
    port = next((port for port in ports if port is not None), None)
    if port is None or _is_a_sandbox(port):
        return None
    listener = _listener(port)
    free: int = listener.getsockname()[1]
    if free != port:
        logger.warning("port %s is in use; the sandbox uses %s", port, free)
        _move(providers, free)
    return listener


def helper(listener: socket.socket | None) -> dict[str, Callable[[], None]]:
    """Return the sandbox that listens there as a process to keep alive."""
    if listener is None:
        return {}
    port: int = listener.getsockname()[1]
    return {"sandbox": lambda: serve_forever(HOST, port, announce=False, listener=listener)}


def _is_a_sandbox(port: int) -> bool:
    """Tell whether another gateway of this machine already runs one there."""
    asking = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        asking.request("GET", "/healthz")
        answer = asking.getresponse()
        return answer.status == 200 and b"tollgate-sandbox" in answer.read(MAX_ANSWER_BYTES)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asking.close()


def _listener(wanted: int) -> socket.socket:
    """Listen on the wanted port if it is free, otherwise on one that the system chooses.

    This process listens before the sandbox is there: the first calls wait for it and are not refused.
    """
    try:
        return socket.create_server((HOST, wanted), backlog=BACKLOG)
    except OSError:
        return socket.create_server((HOST, 0), backlog=BACKLOG)


def _move(providers: list[Provider], port: int) -> None:
    for provider in providers:
        parts = urlsplit(provider.base_url)
        provider.base_url = urlunsplit(parts._replace(netloc=f"{HOST}:{port}"))
        provider.save()
