"""Define what workers ask one another about running calls, and what they answer."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from responses_api.process.running_call import RunningCall, StoppedCall

# A page shows so many; of more it says how many there are.
MOST_CALLS = 200


class LiveQuestion(Struct, frozen=True):
    """A question to all workers. `calls`: the oldest of these tenants (None: of all), or the one of this
    request; `stop`: end the request's call."""

    kind: Literal["calls", "stop"]
    reply_to: str = ""
    tenants: list[int] | None = None
    request_id: str = ""


class WorkerName(Struct, frozen=True):
    """The process that answers; two containers may have the same pid."""

    host: str
    pid: int


class WorkerAnswer(Struct, frozen=True):
    """One worker's answer: its calls and how many there are, or how the call ended that it stopped."""

    worker: WorkerName
    count: int = 0
    calls: list[RunningCall] = []
    stopped: StoppedCall | None = None


def encode(said: LiveQuestion | WorkerAnswer) -> bytes:
    return msgspec.json.encode(said)


def read_question(data: bytes) -> LiveQuestion | None:
    """Return the question, or None for what a worker of another version, or somebody else, has said."""
    try:
        return msgspec.json.decode(data, type=LiveQuestion)
    except msgspec.MsgspecError:
        return None


def read_answer(data: bytes) -> WorkerAnswer | None:
    try:
        return msgspec.json.decode(data, type=WorkerAnswer)
    except msgspec.MsgspecError:
        return None
