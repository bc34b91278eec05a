"""A real OpenID Connect provider, as a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.support.patience import until


class Provider:
    """The provider at `issuer`; everybody it is told of can sign in there, and says so with one click."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer

    def know(self, subject: str, **claims: Any) -> None:
        httpx.put(f"{self.issuer}/users/{subject}", json=claims).raise_for_status()

    def authorize(self, address: str, subject: str) -> str:
        """Click, at the address the console led to, and return where the browser is led back to."""
        answer = httpx.post(address, data={"sub": subject})
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]


@contextmanager
def running() -> Iterator[Provider]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "oidc_provider_mock",
            "--port",
            str(port),
            "--require-nonce",
            "true",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    provider = Provider(f"http://127.0.0.1:{port}")
    try:
        until(lambda: _answers(provider))
        yield provider
    finally:
        process.kill()
        process.wait()


def _answers(provider: Provider) -> bool:
    try:
        return httpx.get(f"{provider.issuer}/.well-known/openid-configuration").is_success
    except httpx.TransportError:
        return False
