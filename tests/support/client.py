"""Clients of a gateway: how they ask, and what they read in its answers.

`wire` has the client that sees every byte, `sockets` the one that speaks over a WebSocket.
"""

from __future__ import annotations

import contextlib
from typing import Any, Protocol

import httpx
import orjson

from tests.support.patience import GIVE_UP_SECONDS

Json = dict[str, Any]

V1 = "/v1"
PATHS = {"chat": "/chat/completions", "responses": "/responses"}  # behind a prefix such as /v1


class Server(Protocol):
    """A gateway, beside the test or in a process of its own."""

    @property
    def root_url(self) -> str: ...


class KeyHolder(Protocol):
    """A caller with an API key."""

    @property
    def secret(self) -> str: ...


def client_of(
    server: Server, customer: KeyHolder | None, prefix: str = V1, **headers: str
) -> httpx.Client:
    """Return a client with this customer's key, or with none; its paths begin behind the prefix."""
    if customer is not None:
        headers["authorization"] = f"Bearer {customer.secret}"
    return httpx.Client(
        base_url=server.root_url + prefix,
        headers=headers,
        timeout=GIVE_UP_SECONDS,
        limits=httpx.Limits(max_connections=None),
        trust_env=False,
    )


def async_client_of(
    server: Server, customer: KeyHolder, seconds: float = GIVE_UP_SECONDS
) -> httpx.AsyncClient:
    """Return a client that asks as many questions at once as it is given."""
    return httpx.AsyncClient(
        base_url=server.root_url + V1,
        headers={"authorization": f"Bearer {customer.secret}"},
        timeout=seconds,
        limits=httpx.Limits(max_connections=None),
        trust_env=False,
    )


# Questions


def said(door: str, text: str = "Hi") -> Json:
    """Return the fields in which a door is told what the user said."""
    if door == "chat":
        return {"messages": [{"role": "user", "content": text}]}
    return {"input": text}


def question(door: str, model: str, text: str = "Hi", stream: bool = False, **fields: Any) -> Json:
    """Return the body of a request to a door."""
    return {"model": model, "stream": stream, **said(door, text), **fields}


def ask(
    server: Server,
    door: str,
    customer: KeyHolder,
    model: str,
    text: str = "Hi",
    *,
    stream: bool = False,
    headers: dict[str, str] | None = None,
    **fields: Any,
) -> httpx.Response:
    """Ask on a connection of its own; return the answer, of a stream as far as it came."""
    asked = question(door, model, text, stream, **fields)
    with (
        client_of(server, customer) as http,
        http.stream("POST", PATHS[door], json=asked, headers=headers) as answer,
    ):
        raw = b""
        # A chat stream that failed is cut; a whole answer never is.
        with contextlib.suppress(*([httpx.RemoteProtocolError] if stream else [])):
            for piece in answer.iter_raw():
                raw += piece
    return httpx.Response(answer.status_code, headers=answer.headers, content=raw)


# Answers


def error_in(content: bytes) -> Json:
    """Return the error in a body that is OpenAI's envelope, whole and with a sentence in it."""
    error = orjson.loads(content)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert isinstance(error["type"], str)
    assert isinstance(error["code"], str)
    assert error["param"] is None or isinstance(error["param"], str)
    found: Json = error
    return found


def error_of(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Return status, code and field of an error."""
    error = error_in(answer.content)
    return answer.status_code, error["code"], error["param"]


def data_in(stream: bytes) -> list[bytes]:
    """Return what stands behind each `data:` of a stream, `[DONE]` among it."""
    lines = stream.splitlines()
    return [line[5:].strip() for line in lines if line.startswith(b"data:")]


def events_in(stream: bytes) -> list[Json]:
    """Return the JSON of each event of a stream; `grammar` and `chat_grammar` check its form as well."""
    return [orjson.loads(data) for data in data_in(stream) if data != b"[DONE]"]
