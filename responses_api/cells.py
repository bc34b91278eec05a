"""Doors, and the cells that join each to every upstream protocol.

Where both sides speak the same protocol a cell relays, elsewhere it translates. It also translates where the
provider's row says that it speaks a dialect (the quirk `translate`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway_project.lib import ids
from gateway_project.lib.structure import Caps
from responses_api.doors import chat as chat_door
from responses_api.doors import chat_canonical, input_tokens, responses_canonical
from responses_api.doors import compact as compact_door
from responses_api.doors import responses as responses_door
from responses_api.doors.shapes import DoorName, ModelCall
from responses_api.encoders.chat import ChatEncoder
from responses_api.encoders.compact import CompactEncoder
from responses_api.encoders.responses import ResponsesEncoder
from responses_api.legs import (
    ClientSide,
    Opener,
    UpstreamSide,
    relayed,
    standardised,
    translated,
    unless_dialect,
)
from responses_api.relay import Identity
from responses_api.relay.chat import ChatRelay
from responses_api.relay.compact import CompactRelay
from responses_api.relay.responses import ResponsesRelay
from routing.protocols import anthropic_request, chat, chat_request, responses
from routing.protocols.anthropic_deltas import AnthropicDeltas
from routing.protocols.chat_deltas import ChatDeltas
from routing.protocols.responses_deltas import ResponsesDeltas

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Door:
    """A client format: how a request is read and how its answer is named.

    `forwarded_headers` are prefixes of client headers that travel upstream; `ends_whole` tells whether
    a failed stream still ends with a proper terminal event, or must be cut to be noticed.
    """

    name: DoorName
    decode: Callable[[bytes, Caps], ModelCall]
    refuse_foreign_ids: Callable[[Json, int], None]
    new_id: Callable[[], str]
    forwarded_headers: tuple[bytes, ...]
    ends_whole: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """How a call that came through a door is put to an upstream, and its answer brought back.

    `headers` makes those to send of those the door passes on. `instead` is another way for an upstream
    that has no such route. `can_limit`: the route takes a limit of output tokens.
    """

    path: str
    open: Opener
    headers: Callable[[dict[str, str]], dict[str, str]] = dict
    instead: Cell | None = None
    can_limit: bool = True


CHAT = Door(
    name="chat",
    decode=chat_door.decode,
    refuse_foreign_ids=chat_door.refuse_foreign_ids,
    new_id=ids.completion_id,
    forwarded_headers=(),
    ends_whole=False,
)
RESPONSES = Door(
    name="responses",
    decode=responses_door.decode,
    refuse_foreign_ids=responses_door.refuse_foreign_ids,
    new_id=ids.response_id,
    # Headers that Codex means for OpenAI (docs/wire.md 10.2).
    forwarded_headers=(b"x-codex-", b"x-openai-", b"openai-beta", b"session-id", b"thread-id"),
    ends_whole=True,
)
COMPACT = Door(
    name="compact",
    decode=compact_door.decode,
    refuse_foreign_ids=responses_door.refuse_foreign_ids,
    new_id=ids.response_id,
    forwarded_headers=(),
    ends_whole=True,
)
# No cell leads from here: what an upstream counts is no answer of a model (responses_api/counting.py).
INPUT_TOKENS = Door(
    name="input_tokens",
    decode=input_tokens.decode,
    refuse_foreign_ids=responses_door.refuse_foreign_ids,
    new_id=ids.response_id,
    forwarded_headers=(),
    ends_whole=True,
)


def _compact_encoder(call: ModelCall, identity: Identity) -> CompactEncoder:
    return CompactEncoder(identity, call.compaction.items if call.compaction is not None else [])


def _responses_encoder(call: ModelCall, identity: Identity) -> ResponsesEncoder:
    return ResponsesEncoder(identity)


def _chat_encoder(call: ModelCall, identity: Identity) -> ChatEncoder:
    return ChatEncoder(identity, include_usage=call.include_usage)


def _our_headers(passed_on: Mapping[str, str]) -> dict[str, str]:
    """Without what a client sent for the eyes of a vendor that this is not."""
    return {name: passed_on[name] for name in ("accept", "x-request-id")}


def _anthropic_headers(passed_on: Mapping[str, str]) -> dict[str, str]:
    """https://platform.claude.com/docs/en/api/versioning"""
    return {**_our_headers(passed_on), "anthropic-version": "2023-06-01"}


_CHAT_CLIENT = ClientSide(chat_canonical.canonical, chat_canonical.client_param, _chat_encoder)
# Of a request that goes out as it came, whose messages nobody needs to understand.
_CHAT_TERMS = ClientSide(chat_canonical.terms, chat_canonical.client_param, _chat_encoder)
_RESPONSES_CLIENT = ClientSide(
    responses_canonical.canonical, responses_canonical.client_param, _responses_encoder
)
_COMPACT_CLIENT = ClientSide(
    responses_canonical.canonical,
    responses_canonical.client_param,
    _compact_encoder,
    compacts=True,
)
_CHAT_UPSTREAM = UpstreamSide(chat_request.build, ChatDeltas)
_RESPONSES_UPSTREAM = UpstreamSide(responses.build, ResponsesDeltas, knows_custom_tools=True)
_ANTHROPIC_UPSTREAM = UpstreamSide(anthropic_request.build, AnthropicDeltas)

CELLS: dict[tuple[str, str], Cell] = {
    ("chat", "chat"): Cell(
        chat.PATH,
        unless_dialect(
            relayed(chat.request, ChatRelay),
            standardised(chat.request, _CHAT_TERMS, _CHAT_UPSTREAM),
            chat_canonical.has_one_answer,
        ),
    ),
    ("chat", "responses"): Cell(
        responses.PATH, translated(_CHAT_CLIENT, _RESPONSES_UPSTREAM), _our_headers
    ),
    ("chat", "anthropic"): Cell(
        anthropic_request.PATH, translated(_CHAT_CLIENT, _ANTHROPIC_UPSTREAM), _anthropic_headers
    ),
    ("responses", "chat"): Cell(
        chat.PATH, translated(_RESPONSES_CLIENT, _CHAT_UPSTREAM), _our_headers
    ),
    ("responses", "responses"): Cell(
        responses.PATH,
        unless_dialect(
            relayed(responses.request, ResponsesRelay),
            standardised(responses.request, _RESPONSES_CLIENT, _RESPONSES_UPSTREAM),
        ),
    ),
    ("responses", "anthropic"): Cell(
        anthropic_request.PATH,
        translated(_RESPONSES_CLIENT, _ANTHROPIC_UPSTREAM),
        _anthropic_headers,
    ),
    ("compact", "chat"): Cell(chat.PATH, translated(_COMPACT_CLIENT, _CHAT_UPSTREAM), _our_headers),
    ("compact", "responses"): Cell(
        compact_door.PATH,
        relayed(compact_door.request, CompactRelay),
        _our_headers,
        instead=Cell(
            responses.PATH, translated(_COMPACT_CLIENT, _RESPONSES_UPSTREAM), _our_headers
        ),
        can_limit=False,
    ),
    ("compact", "anthropic"): Cell(
        anthropic_request.PATH, translated(_COMPACT_CLIENT, _ANTHROPIC_UPSTREAM), _anthropic_headers
    ),
}
