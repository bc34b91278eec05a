"""Doors, and the cells that join a door to an upstream protocol.

Here are the relay cells; where the protocols differ a cell would translate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway_project.lib import ids
from responses_api.doors import chat as chat_door
from responses_api.doors import responses as responses_door
from responses_api.doors.shapes import DoorName, ModelCall
from responses_api.relay import Identity, Relay
from responses_api.relay.chat import ChatRelay
from responses_api.relay.responses import ResponsesRelay
from routing.protocols import chat, responses
from routing.route import Target

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Door:
    """A client format: how a request is read and how its answer is named.

    `forwarded_headers` are prefixes of client headers that travel upstream; `ends_whole` tells whether
    a failed stream still ends with a proper terminal event, or must be cut to be noticed.
    """

    name: DoorName
    decode: Callable[[bytes], ModelCall]
    refuse_foreign_ids: Callable[[Json], None]
    new_id: Callable[[], str]
    forwarded_headers: tuple[bytes, ...]
    ends_whole: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """How a call that came through a door is put to an upstream, and its answer brought back."""

    path: str
    request: Callable[[Json, Target], Json]
    relay: Callable[[ModelCall, Target, Identity], Relay]


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
    # What Codex sends for OpenAI's eyes (clients.md 1.2).
    forwarded_headers=(b"x-codex-", b"x-openai-", b"openai-beta", b"session-id", b"thread-id"),
    ends_whole=True,
)
CELLS: dict[tuple[str, str], Cell] = {
    ("chat", "chat"): Cell(chat.PATH, chat.request, ChatRelay),
    ("responses", "responses"): Cell(responses.PATH, responses.request, ResponsesRelay),
}
