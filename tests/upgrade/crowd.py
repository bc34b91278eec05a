"""Clients that ask while an installation is being upgraded, and try again until they are answered."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import httpx

from tests.support.patience import GIVE_UP_SECONDS, until

CROWD = "while it was upgraded"
EACH = 5  # calls of each client
# By alias of the installation; each speaks another protocol to its upstream.
ALIASES = ("sandbox-chat", "sandbox-responses", "sandbox-anthropic")
TENANTS = ("acme", "globex")
BETWEEN_TRIES = 0.25


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Crowd:
    """`answered`: the rows that calls must have, with their tenants; `turned_away`: tries in vain."""

    def __init__(self, url: str, keys: dict[str, str]) -> None:
        self.answered: dict[str, str] = {}
        self.turned_away = 0
        self._url = f"{url}/v1/chat/completions"
        self._keys = keys
        self._given_up = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._ask, args=(tenant, alias))
            for tenant in TENANTS
            for alias in ALIASES
        ]

    @contextmanager
    def asking(self) -> Iterator[Self]:
        for thread in self._threads:
            thread.start()
        try:
            until(lambda: self.turned_away > 0)  # they ask before there is anybody to answer
            yield self
        finally:
            self._given_up.set()
            for thread in self._threads:
                thread.join(GIVE_UP_SECONDS)

    def wait_until_answered(self) -> None:
        wanted = EACH * len(self._threads)
        until(lambda: len(self.answered) == wanted)

    def _ask(self, tenant: str, alias: str) -> None:
        body: dict[str, object] = {
            "model": alias,
            "messages": [{"role": "user", "content": "Hi"}],
            "user": CROWD,
        }
        headers = {"authorization": f"Bearer {self._keys[tenant]}"}
        with httpx.Client(headers=headers, timeout=GIVE_UP_SECONDS, trust_env=False) as http:
            left = EACH
            while left and not self._given_up.is_set():
                request_id = self._answered(http, body)
                with self._lock:
                    if request_id is None:
                        self.turned_away += 1
                    else:
                        self.answered[request_id.removeprefix("req_")] = tenant
                if request_id is None:
                    self._given_up.wait(BETWEEN_TRIES)
                else:
                    left -= 1

    def _answered(self, http: httpx.Client, body: dict[str, object]) -> str | None:
        """Return the request's id; None where a client would try again: nobody listens, or it is told to."""
        try:
            answer = http.post(self._url, json=body)
        except httpx.TransportError:
            return None
        if answer.status_code in {429, 503}:
            return None
        assert answer.status_code == 200, answer.text
        return str(answer.headers["x-request-id"])
