"""Guardrails a test needs, and services outside that judge texts as they are told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from django.db import transaction

from responses_api.models import Guardrail, GuardrailEvent
from tenants import managed
from tenants.access.access import OPERATOR
from tests.support.live import LiveGateway
from tests.support.patience import until

Json = dict[str, Any]
Judge = Callable[[Json], Any]


@transaction.atomic
def guardrail(name: str = "terms", kind: str = "terms", **fields: Any) -> Guardrail:
    """Make a guardrail as an operator does; of the words `forbidden` unless it says otherwise."""
    if kind == "terms":
        fields.setdefault("config", {"terms": ["forbidden"]})
    fields.setdefault("tenant", None)
    return managed.create(OPERATOR, Guardrail, {"name": name, "kind": kind, **fields}).row


def outside(name: str, service: Service, kind: str = "webhook", **fields: Any) -> Guardrail:
    """Make a guardrail that asks a service beside the test."""
    fields = {"url": service.url, "allow_private_network": True, **fields}
    return guardrail(name, kind, **fields)


def events(gateway: LiveGateway, count: int) -> list[GuardrailEvent]:
    """Wait until there are so many events, and return all there are."""
    until(lambda: GuardrailEvent.objects.count() >= count)
    return list(GuardrailEvent.objects.order_by("id"))


class Service:
    """A service that judges: `judge` makes its answer of a question; bytes or a status are sent as they are.

    While `is_held`, nobody is answered.
    """

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.questions: list[Json] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.released = threading.Event()
        self.released.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/check"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


def _handler(service: Service) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            service.bodies.append(body)
            service.headers.append({name.lower(): value for name, value in self.headers.items()})
            service.questions.append(json.loads(body))
            service.released.wait(20)
            said = service.judge(service.questions[-1])
            status = said if isinstance(said, int) else 200
            raw = said if isinstance(said, bytes) else json.dumps(said).encode()
            try:
                self.send_response(status)
                if status == 302:
                    self.send_header("location", "/elsewhere")
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)
            except OSError:
                pass  # the gateway did not wait

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
