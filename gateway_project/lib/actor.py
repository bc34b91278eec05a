"""Know who is acting: a person, a token, a command, or the program itself.

Whoever begins work for somebody says so once (`acting`); what is written below asks `current`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who changes or reads things, as the audit log names them."""

    kind: Literal["person", "token", "command", "system"]
    id: str  # a user's primary key, a token's public id, a command's name
    name: str  # as people know them: a user name, a token's name
    address: str = ""  # the network address it came from, if it came from one
    reason: str = ""  # why an operator acts as a tenant


SYSTEM = Actor("system", "tollgate", "Tollgate")

_current: ContextVar[Actor] = ContextVar("actor", default=SYSTEM)


def current() -> Actor:
    """Return who is acting; the program itself where nobody said otherwise."""
    return _current.get()


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Let `actor` be the one who acts within the block."""
    token = _current.set(actor)
    try:
        yield
    finally:
        _current.reset(token)
