"""The requests the bench sends, as bytes, and how a complete answer to each is recognised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import orjson

Cell = Literal["chat", "responses"]
CELLS: tuple[Cell, ...] = ("chat", "responses")
PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses"}
TURN_BYTES = 900
ANSWER_BYTES = 500
SENTENCE = "The quick brown fox jumps over the lazy dog. "

# What stands exactly once in a complete answer, and never in one that was cut.
_JSON_ENDS = {"chat": b'"finish_reason":"stop"', "responses": b'"status":"completed","content"'}
_STREAM_ENDS = {"chat": b"data: [DONE]\n\n", "responses": b"event: response.completed\n"}


@dataclass(frozen=True, slots=True)
class Call:
    """One request without its address and credential. `events` is the least a stream must hold."""

    cell: Cell
    body: bytes
    end: bytes
    events: int = 0

    @property
    def is_stream(self) -> bool:
        return self.events > 0

    def on_wire(self, port: int, key: str) -> bytes:
        """The whole HTTP/1.1 request."""
        lines = (
            f"POST {PATHS[self.cell]} HTTP/1.1",
            f"host: 127.0.0.1:{port}",
            f"authorization: Bearer {key}",
            "content-type: application/json",
            "user-agent: tollgate-bench",
            f"content-length: {len(self.body)}",
        )
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


def json_call(cell: Cell, body_bytes: int) -> Call:
    """A call with a body of about that size, a conversation in turns, and an answer of about 1 KB."""
    body = orjson.dumps(_body(cell, f"[size={ANSWER_BYTES}]", body_bytes))
    return Call(cell, body, _JSON_ENDS[cell])


def stream_call(cell: Cell, chunks: int, pace_ms: int = 0) -> Call:
    """A call answered with that many chunks, one every `pace_ms`, or as fast as they are taken."""
    orders = f"[chunks={chunks}]" + (f"[pace={pace_ms}]" if pace_ms else "")
    body = orjson.dumps(_body(cell, orders, TURN_BYTES) | {"stream": True})
    return Call(cell, body, _STREAM_ENDS[cell], events=chunks)


def _body(cell: Cell, orders: str, body_bytes: int) -> dict[str, Any]:
    """The directives stand in the last user text, which is the one the sandbox obeys."""
    turns = [
        {"role": "assistant" if number % 2 else "user", "content": _filler(TURN_BYTES)}
        for number in range(max(0, body_bytes // (TURN_BYTES + 60) - 1))
    ]
    turns.append({"role": "user", "content": f"{_filler(TURN_BYTES - 100)} {orders}"})
    field = "messages" if cell == "chat" else "input"
    return {"model": f"sandbox-{cell}", field: turns}


def _filler(size: int) -> str:
    return (SENTENCE * (size // len(SENTENCE) + 1))[:size]
