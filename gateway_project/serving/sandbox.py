"""Running the sandbox beside the workers when a provider points at it."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

import httpx

from routing.models import Provider
from routing.sandbox.cli import serve_forever

logger = logging.getLogger("tollgate.serve")

HOST = "127.0.0.1"
VENDOR = "sandbox"


def helper() -> dict[str, Callable[[], None]]:
    """The sandbox as a process to keep alive, or nothing if no provider needs one from us."""
    providers = list(Provider.objects.filter(vendor=VENDOR, enabled=True))
    ports = {urlsplit(p.base_url).port for p in providers if urlsplit(p.base_url).hostname == HOST}
    port = next((port for port in ports if port is not None), None)
    if port is None or _is_a_sandbox(port):
        return {}
    free = _free_port(port)
    if free != port:
        logger.warning("port %s is taken; the sandbox moves to %s", port, free)
        _move(providers, free)
    return {"sandbox": lambda: serve_forever(HOST, free, announce=False)}


def _is_a_sandbox(port: int) -> bool:
    """Whether another gateway of this machine runs one there already."""
    try:
        answer = httpx.get(f"http://{HOST}:{port}/healthz", timeout=1, trust_env=False)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200 and "tollgate-sandbox" in answer.text


def _free_port(wanted: int) -> int:
    """The wanted port if it is free, otherwise one the system chooses."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            chosen: int = probe.getsockname()[1]
            return chosen
    raise OSError("no free port for the sandbox")


def _move(providers: list[Provider], port: int) -> None:
    for provider in providers:
        parts = urlsplit(provider.base_url)
        provider.base_url = urlunsplit(parts._replace(netloc=f"{HOST}:{port}"))
        provider.save()
