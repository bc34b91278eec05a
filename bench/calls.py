"""Define the requests the bench sends, as bytes, and how a complete answer to each is recognised."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson

UPSTREAMS = ("chat", "responses", "anthropic")
PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses"}
TURN_BYTES = 900
ANSWER_BYTES = 500
SENTENCE = "The quick brown fox jumps over the lazy dog. "

# What stands exactly once in a complete answer, and never in one that was cut.
_JSON_ENDS = {"chat": b'"finish_reason":"stop"', "responses": b'"object":"response"'}
_STREAM_ENDS = {"chat": b"data: [DONE]\n\n", "responses": b"event: response.completed\n"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A door over an upstream protocol; where both are the same, frames are relayed."""

    door: Literal["chat", "responses"]
    upstream: str

    @property
    def is_relay(self) -> bool:
        return self.door == self.upstream

    def __str__(self) -> str:
        return self.door if self.is_relay else f"{self.door} → {self.upstream}"


DOORS: tuple[Literal["chat", "responses"], ...] = ("chat", "responses")
CELLS = tuple(Cell(door, upstream) for door in DOORS for upstream in UPSTREAMS)
RELAYS = tuple(cell for cell in CELLS if cell.is_relay)
CODEX_CELLS = tuple(cell for cell in CELLS if cell.door == "responses")


@dataclass(frozen=True, slots=True)
class Call:
    """A request without its address and credential.

    `events` is the least number a stream must hold. With a `path` it is a GET, otherwise it is posted to
    the cell's door.
    """

    cell: Cell
    body: bytes
    end: bytes
    events: int = 0
    path: str = ""

    @property
    def is_stream(self) -> bool:
        return self.events > 0

    def on_wire(self, port: int, key: str) -> bytes:
        """Return the whole HTTP/1.1 request."""
        lines = (
            f"GET {self.path} HTTP/1.1" if self.path else f"POST {PATHS[self.cell.door]} HTTP/1.1",
            f"host: 127.0.0.1:{port}",
            f"authorization: Bearer {key}",
            "content-type: application/json",
            "user-agent: tollgate-bench",
            f"content-length: {len(self.body)}",
        )
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


def json_call(cell: Cell, body_bytes: int, *, store: bool = False) -> Call:
    """Make a call with a body of about that size, a conversation in turns, and an answer of about 1 KB."""
    body = orjson.dumps(_body(cell, f"[size={ANSWER_BYTES}]", body_bytes) | {"store": store})
    return Call(cell, body, _JSON_ENDS[cell.door])


def stream_call(cell: Cell, chunks: int, pace_ms: int = 0) -> Call:
    """Make a call answered with that many chunks, one every `pace_ms`, or as fast as they are taken."""
    orders = f"[chunks={chunks}]" + (f"[pace={pace_ms}]" if pace_ms else "")
    body = orjson.dumps(_body(cell, orders, TURN_BYTES) | {"stream": True, "store": False})
    return Call(cell, body, _STREAM_ENDS[cell.door], events=chunks)


def kept_call(call: Call) -> Call:
    """Make the same call of an alias that keeps answers."""
    return replace(call, body=call.body.replace(b'"sandbox-', b'"kept-', 1))


def background_body(cell: Cell, chunks: int) -> dict[str, Any]:
    """Make a background call whose events are kept."""
    orders = {"stream": True, "background": True, "store": True}
    return _body(cell, f"[chunks={chunks}]", TURN_BYTES) | orders


def replay_call(cell: Cell, response_id: str, events: int) -> Call:
    """Make a call for the kept events of a response that has ended, from first to last."""
    path = f"{PATHS['responses']}/{response_id}?stream=true"
    return Call(cell, b"", _STREAM_ENDS["responses"], events, path)


def _body(cell: Cell, orders: str, body_bytes: int) -> dict[str, Any]:
    """Build the body, with the directives in the last user text, which is the one the sandbox obeys."""
    turns = [
        {"role": "assistant" if number % 2 else "user", "content": _filler(TURN_BYTES)}
        for number in range(max(0, body_bytes // (TURN_BYTES + 60) - 1))
    ]
    turns.append({"role": "user", "content": f"{_filler(TURN_BYTES - 100)} {orders}"})
    field = "messages" if cell.door == "chat" else "input"
    return {"model": f"sandbox-{cell.upstream}", field: turns}


def codex_call(cell: Cell) -> Call:
    """Make a step of Codex: about 50 KB of instructions, tools of several kinds and history.

    It is answered with a streamed tool call, as most of Codex's steps are (docs/wire.md 10.2; the texts
    are ours).
    """
    tools = [_tool(number) for number in range(12)]
    body = {
        "model": f"sandbox-{cell.upstream}",
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "0199a213-81c0-7800-8aa1-bbab2a035a53",
        "client_metadata": {"originator": "codex_exec"},
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [
            *tools,
            {"type": "namespace", "name": "agents", "description": "Agents.", "tools": tools[:3]},
            {"type": "web_search", "external_web_access": False},
        ],
        "input": [
            _message("developer", 14_000),
            _message("user", 2_000),
            *(item for number in range(8) for item in _tool_turn(number)),
            {"type": "message", "role": "assistant", "content": "Done."},
            _message("user", 200, " [tool]"),
        ],
    }
    return Call(cell, orjson.dumps(body), _STREAM_ENDS[cell.door], events=1)


def _tool(number: int) -> dict[str, Any]:
    names = ("cmd", "workdir", "yield_time_ms", "justification")
    fields = {name: {"type": "string", "description": _filler(90)} for name in names}
    parameters = {
        "type": "object", "properties": fields, "required": ["cmd"], "additionalProperties": False
    }  # fmt: skip
    return {
        "type": "function",
        "name": f"tool_{number}",
        "description": _filler(400),
        "strict": False,
        "parameters": parameters,
    }


def _message(role: str, size: int, orders: str = "") -> dict[str, Any]:
    part = {"type": "input_text", "text": _filler(size) + orders}
    return {"type": "message", "role": role, "id": f"msg_{role}", "content": [part]}


def _tool_turn(number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    call_id = f"call_{number}"
    call = {
        "type": "function_call", "id": f"fc_{number}", "call_id": call_id, "name": "tool_0",
        "arguments": '{"cmd":"ls -la"}', "status": "completed",
    }  # fmt: skip
    output = {"type": "function_call_output", "call_id": call_id, "output": _filler(2_000)}
    return call, output


def _filler(size: int) -> str:
    return (SENTENCE * (size // len(SENTENCE) + 1))[:size]
