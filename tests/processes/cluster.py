"""Two servers on one database, and whoever makes background responses beside them."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import httpx
import orjson

from gateway_project.sandbox import SandboxServer
from tests.processes.served import Program, Served, eventually, kill, shell
from tests.support import grammar
from tests.support.patience import GIVE_UP_SECONDS
from tests.support.wire import Wire

Json = dict[str, Any]

ROWS = """
import json
from tests.support import rows
rows.sandbox_aliases({url!r})
for protocol in rows.PROTOCOLS:
    upstream = rows.provider(protocol, {url!r}, "endless-" + protocol)
    rows.alias("endless-" + protocol, (upstream, "sandbox-fault-never-ending"))
    rows.alias("kept-" + protocol, (upstream, "sandbox-1"), resumable_streams=True)
customer = rows.customer("acme")
print(json.dumps([customer.key.public_id, customer.secret]))
"""


class Cluster:
    """`a` and `b` serve; `maker` makes what is asked for on `a`: that is `a` itself, or a worker."""

    def __init__(
        self,
        secret: str,
        provider: SandboxServer,
        http: httpx.Client,
        a: Served,
        b: Served,
        maker: Program | None,
    ) -> None:
        self.secret = secret
        self.provider = provider
        self._http = http
        self.a = a
        self.b = b
        self.maker = maker

    def kill(self, process: Served | Program) -> None:
        """Kill it with all its children, without a chance to say anything."""
        children = process.children if isinstance(process, Served) else []
        for pid in (process.pid, *children):
            kill(pid, signal.SIGKILL)

    def create(self, at: Served, model: str, text: str) -> Json:
        body = {"model": model, "input": text, "background": True}
        found: Json = self._ask(at, "POST", "", json=body).json()
        return found

    def get(self, at: Served, response_id: str) -> Json:
        found: Json = self._ask(at, "GET", response_id).json()
        return found

    def status(self, response_id: str) -> str:
        return str(self.get(self.b, response_id)["status"])

    def ends(self, response_id: str, seconds: float = GIVE_UP_SECONDS) -> Json:
        """The Response once it has ended."""
        final = {"completed", "failed", "incomplete", "cancelled"}
        eventually(lambda: self.status(response_id) in final, seconds)
        return self.get(self.b, response_id)

    def cancel(self, at: Served, response_id: str) -> Json:
        found: Json = self._ask(at, "POST", f"{response_id}/cancel").json()
        return found

    def events(self, at: Served, response_id: str, after: int = -1) -> list[Json]:
        """The events after this number, to the end."""
        query = "" if after < 0 else f"&starting_after={after}"
        content = self._ask(at, "GET", f"{response_id}?stream=true{query}").content
        return (
            [] if content == b"data: [DONE]\n\n" else without_signs_of_life(grammar.read(content))
        )

    def follow(self, at: Served, response_id: str) -> Wire:
        client = Wire(at.root_url)
        client.send(
            f"GET /v1/responses/{response_id}?stream=true HTTP/1.1\r\nhost: gateway\r\n"
            f"authorization: Bearer {self.secret}\r\n\r\n".encode()
        )
        return client

    def assert_same_everywhere(self, events: list[Json], *at: Served) -> None:
        """Check that every server tells the whole, and one of them from every number on."""
        response_id = events[0]["response"]["id"]
        numbers = [event["sequence_number"] for event in events]
        assert numbers == list(range(len(events)))
        for place, server in enumerate(at):
            assert self.events(server, response_id) == events
            for number in numbers[place :: len(at)]:
                assert self.events(server, response_id, number) == events[number + 1 :]

    def _ask(self, at: Served, method: str, path: str, **request: Any) -> httpx.Response:
        url = f"{at.root_url}/v1/responses/{path}".rstrip("/")
        answer = self._http.request(method, url, **request)
        assert answer.status_code == 200, answer.text
        return answer


@dataclass(frozen=True, slots=True)
class Place:
    """A prepared database, and where background responses are made."""

    variables: dict[str, str]
    secret: str
    provider: SandboxServer
    is_celery: bool = False

    def worker(self) -> Program:
        """A background worker, to be started."""
        return Program(self.variables, "background_worker", "--queues", "tollgate.background")

    def started(self, running: ExitStack, *, with_worker: bool = True, **more: str) -> Cluster:
        """Two servers and, with Celery, a background worker."""
        variables = {**self.variables, **more}
        starting = [Served(variables, "--workers", "1") for _ in range(2)]
        a, b = (running.enter_context(server) for server in starting)
        maker = None
        if self.is_celery and with_worker:
            maker = running.enter_context(replace(self, variables=variables).worker())
        http = httpx.Client(
            headers={"authorization": f"Bearer {self.secret}"},
            timeout=GIVE_UP_SECONDS,
            trust_env=False,
        )
        running.enter_context(http)
        return Cluster(self.secret, self.provider, http, a, b, maker)


class Shared:
    """One cluster for all tests that leave it as it is; stopped before one that needs its own, because
    they would make each other's responses."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._running = ExitStack()
        self._cluster: Cluster | None = None

    def cluster(self) -> Cluster:
        self._cluster = self._cluster or self._place.started(self._running)
        return self._cluster

    def stop(self) -> None:
        self._running.close()
        self._cluster = None


def events_in(received: bytes) -> list[Json]:
    """The whole events a client has got so far, chunked as HTTP sends them, but signs of life."""
    lines = received.split(b"\ndata: ")[1:]
    whole = [line.partition(b"\n\n") for line in lines]
    return without_signs_of_life(
        [orjson.loads(data) for data, end, _ in whole if end and data != b"[DONE]"]
    )


def without_signs_of_life(events: list[Json]) -> list[Json]:
    """Leave out the signs of life, whose number only tells how slow the machine is."""
    return [event for event in events if event["type"] != "keepalive"]


def prepare(variables: dict[str, str], provider: SandboxServer) -> str:
    """Rows for the tests; the key's secret."""
    _, secret = shell(variables, ROWS.format(url=provider.base_url))
    return str(secret)
