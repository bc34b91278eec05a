"""Limits of one WebSocket connection: how much it may take, and for how long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """The limits of one connection. `grace` is how many seconds running responses may go on after `lifetime`.

    Waiting frames are bounded in number and in bytes; beyond that nothing more is read from the client.
    """

    lifetime: float
    memory_bytes: int
    waiting_bytes: int
    grace: float = 60.0
    memory_entries: int = 64
    waiting: int = 64
    active: int = 16
    named_lanes: int = 32
