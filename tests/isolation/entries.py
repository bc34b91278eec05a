"""For each route of the API, which ids a client can give it, and where. A route without an entry fails.

`$id` stands for the id that is tried, `$within` for an item that is in the conversation with that id;
`$response`, `$conversation` and `$completion` for one of the caller's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal[
    "response", "item", "conversation", "conversation_item", "completion", "message", "model"
]
Route = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Probe:
    """One place for an id. `quotes`: the answer repeats what was asked for, a model's name or a path."""

    where: Literal["path", "body", "query", "cursor"]
    kind: Kind
    path: str
    query: dict[str, str] = field(default_factory=dict)
    body: Any = None
    quotes: bool = False


def in_path(kind: Kind, path: str, body: Any = None, *, quotes: bool = False) -> Probe:
    return Probe("path", kind, path, body=body, quotes=quotes)


def cursor(kind: Kind, path: str) -> Probe:
    return Probe("cursor", kind, path, query={"after": "$id"})


def in_body(kind: Kind, path: str, body: Any, *, quotes: bool = False) -> Probe:
    return Probe("body", kind, path, body=body, quotes=quotes)


def asked(**fields: Any) -> dict[str, Any]:
    """The body of POST /responses."""
    return {"model": "sandbox-responses", "input": "Hi", **fields}


def reference(kind: Kind, path: str) -> Probe:
    return in_body(kind, path, {"items": [{"type": "item_reference", "id": "$id"}]})


USER = {"role": "user", "content": "Hi"}
METADATA = {"metadata": {"a": "1"}}
REFERENCE = {"type": "item_reference", "id": "$id"}

RESPONSE = "responses/<path:response_id>"
CONVERSATION = "conversations/<path:conversation_id>"
ITEM = "conversations/<str:conversation_id>/items/<path:item_id>"
COMPLETION = "chat/completions/<path:completion_id>"


def state(path: str) -> tuple[Probe, ...]:
    """Return the places for ids in a request to the Responses API, besides the model."""
    return (
        in_body("response", path, asked(previous_response_id="$id")),
        in_body("conversation", path, asked(conversation="$id")),
        in_body("conversation", path, asked(conversation={"id": "$id"})),
        in_body("item", path, asked(input=[REFERENCE, USER])),
        in_body("conversation_item", path, asked(input=[REFERENCE, USER])),
    )


ENTRIES: dict[Route, tuple[Probe, ...]] = {
    ("GET", "models"): (),
    ("GET", "models/<path:name>"): (in_path("model", "models/$id", quotes=True),),
    ("POST", "responses"): (
        in_body("model", "responses", {"model": "$id", "input": "Hi"}, quotes=True),
        *state("responses"),
    ),
    ("POST", "responses/compact"): (
        in_body("model", "responses/compact", {"model": "$id", "input": "Hi"}, quotes=True),
        *state("responses/compact"),
    ),
    ("POST", "responses/input_tokens"): (
        in_body("model", "responses/input_tokens", {"model": "$id", "input": "Hi"}, quotes=True),
        *state("responses/input_tokens"),
    ),
    # A turn over a WebSocket: the same body in a frame.
    ("SOCKET", "responses"): (
        in_body("model", "responses", {"model": "$id", "input": "Hi"}, quotes=True),
        *state("responses"),
    ),
    ("GET", RESPONSE): (
        in_path("response", "responses/$id"),
        Probe("path", "response", "responses/$id", query={"stream": "true"}),
        Probe("path", "response", "responses/$id", query={"stream": "1", "starting_after": "0"}),
    ),
    ("DELETE", RESPONSE): (in_path("response", "responses/$id"),),
    ("GET", RESPONSE + "/input_items"): (
        in_path("response", "responses/$id/input_items"),
        cursor("item", "responses/$response/input_items"),
    ),
    ("POST", RESPONSE + "/cancel"): (in_path("response", "responses/$id/cancel"),),
    ("POST", "conversations"): (
        reference("item", "conversations"),
        reference("conversation_item", "conversations"),
    ),
    ("GET", CONVERSATION): (in_path("conversation", "conversations/$id"),),
    ("POST", CONVERSATION): (in_path("conversation", "conversations/$id", METADATA),),
    ("DELETE", CONVERSATION): (in_path("conversation", "conversations/$id"),),
    ("GET", CONVERSATION + "/items"): (
        in_path("conversation", "conversations/$id/items"),
        cursor("conversation_item", "conversations/$conversation/items"),
    ),
    ("POST", CONVERSATION + "/items"): (
        in_path("conversation", "conversations/$id/items", {"items": [USER]}),
        reference("item", "conversations/$conversation/items"),
        reference("conversation_item", "conversations/$conversation/items"),
    ),
    ("GET", ITEM): (
        in_path("conversation", "conversations/$id/items/$within"),
        in_path("conversation_item", "conversations/$conversation/items/$id"),
    ),
    ("DELETE", ITEM): (
        in_path("conversation", "conversations/$id/items/$within"),
        in_path("conversation_item", "conversations/$conversation/items/$id"),
    ),
    ("POST", "chat/completions"): (
        in_body("model", "chat/completions", {"model": "$id", "messages": [USER]}, quotes=True),
    ),
    ("GET", "chat/completions"): (
        cursor("completion", "chat/completions"),
        Probe("query", "model", "chat/completions", query={"model": "$id"}),
    ),
    ("GET", COMPLETION): (in_path("completion", "chat/completions/$id"),),
    ("POST", COMPLETION): (in_path("completion", "chat/completions/$id", METADATA),),
    ("DELETE", COMPLETION): (in_path("completion", "chat/completions/$id"),),
    ("GET", COMPLETION + "/messages"): (
        in_path("completion", "chat/completions/$id/messages"),
        cursor("message", "chat/completions/$completion/messages"),
    ),
    ("GET", "usage"): (cursor("model", "usage"),),  # whose groups are aliases
    ("ANY", ""): (),  # what answers on every other path
}
