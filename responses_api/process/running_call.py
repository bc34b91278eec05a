"""Describe a running call to people who look at what runs, and how one ended that was stopped."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

CallPhase = Literal[
    "preparing", "shortening", "waiting", "streaming", "stalled", "storing", "ending"
]
Channel = Literal["request", "stream", "socket", "background"]


class RunningCall(Struct, frozen=True):
    """One call, as it was when somebody asked.

    `key` is the public id. `target` is what it was sent to last, empty before that; `attempt` counts from 1.
    `phase` is `stalled` while the client takes nothing of its stream. `held_nano` is None where no budget
    limits the call. `response_id` is given for a response made in the background.
    """

    request_id: str
    tenant_id: int
    tenant: str
    key: str
    route: str
    alias: str
    target: str
    attempt: int
    phase: CallPhase
    channel: Channel
    elapsed_ms: int
    tokens: int
    held_nano: int | None
    response_id: str = ""


class StoppedCall(Struct, frozen=True):
    """The end of a call that somebody stopped; `was_running` is false if its answer was whole before that."""

    was_running: bool
    after_ms: int
    tokens: int
    charge_nano: int
