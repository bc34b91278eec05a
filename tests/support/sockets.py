"""A WebSocket to the gateway, and what comes out of it: every frame is checked against the official SDK's
types where these are at hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson
from websockets.sync.client import ClientConnection, connect

from tests.support import grammar, reference
from tests.support.client import KeyHolder, Server
from tests.support.patience import GIVE_UP_SECONDS
from tests.support.wire import Wire

Json = dict[str, Any]


def text_of(response: Json) -> str:
    """The visible text of a response of one message."""
    (message,) = response["output"]
    (part,) = message["content"]
    text: str = part["text"]
    return text


class Socket:
    """One connection. Frames are JSON objects."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    @property
    def handshake(self) -> Mapping[str, str]:
        """The headers of the answer to it."""
        assert self.connection.response is not None
        return self.connection.response.headers

    @property
    def id(self) -> str:
        return self.handshake["x-request-id"]

    def send(self, frame: Json) -> None:
        self.connection.send(orjson.dumps(frame).decode())

    def create(self, model: str = "sandbox-responses", **fields: Any) -> None:
        self.send({"type": "response.create", "model": model, "input": "Hello", **fields})

    def receive(self) -> Json:
        message = self.connection.recv(GIVE_UP_SECONDS)
        assert isinstance(message, str), "a binary frame"
        frame: Json = orjson.loads(message)
        assert reference.explain(reference.socket_event_validators()[frame["type"]], frame) == []
        return frame

    def events(self) -> list[Json]:
        """The frames up to the end of one response, or an error."""
        found = [self.receive()]
        while found[-1]["type"] not in {*grammar.TERMINAL, "error"}:
            found.append(self.receive())
        return found

    def response(self) -> Json:
        """The response that comes next, every event of it in its place."""
        return grammar.check(self.events())

    def error(self) -> Json:
        """The error frame that comes next, and nothing before it."""
        frame = self.receive()
        assert frame["type"] == "error", frame
        return frame

    def turn(self, model: str = "sandbox-responses", **fields: Any) -> Json:
        self.create(model, **fields)
        return self.response()

    def refused(self, model: str = "sandbox-responses", **fields: Any) -> tuple[int, str]:
        """Status and code of a turn that is answered with an error."""
        self.create(model, **fields)
        frame = self.error()
        return frame["status"], frame["error"]["code"]


@contextmanager
def opened(
    server: Server, headers: dict[str, str], path: str = "/v1/responses", **options: Any
) -> Iterator[Socket]:
    url = server.root_url.replace("http", "ws", 1) + path
    patience = {"open_timeout": GIVE_UP_SECONDS, "ping_timeout": GIVE_UP_SECONDS}
    options = {"compression": None, "max_size": None, **patience, **options}
    with connect(url, additional_headers=headers, **options) as connection:
        yield Socket(connection)


class DeafClient(Wire):
    """A client that has shaken hands and reads nothing from then on."""

    def __init__(self, server: Server, customer: KeyHolder) -> None:
        super().__init__(server.root_url, receive_buffer=4096)
        lines = (
            "GET /v1/responses HTTP/1.1",
            "host: gateway",
            f"authorization: Bearer {customer.secret}",
            "connection: Upgrade",
            "upgrade: websocket",
            "sec-websocket-version: 13",
            "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==",
        )
        super().send("\r\n".join([*lines, "", ""]).encode())
        self.wait_for(b"101 Switching Protocols")

    def create(self, model: str) -> None:
        frame = {"type": "response.create", "model": model, "input": "Hello"}
        text = orjson.dumps(frame).ljust(126)  # for a length in two bytes, and a mask of zeros
        super().send(b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text)
