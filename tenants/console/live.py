"""Topics that open pages of the console watch: what is asked again while somebody looks.

A page's script names a topic and the query of its address (static/console/live.js); the answer is pushed over
the console's socket when it has changed, or polled where there is no socket. Nothing is asked, kept or
published for pages that nobody has open. To offer one:

    @live_topic("new-requests", every_seconds=5)
    def count_new_requests(request: HttpRequest) -> Json:
        return {"count": …}

The function gets a request of the person who looks, as a page does, with rights that were read just now; it
may be a coroutine function. What it raises of Http404 and PermissionDenied ends the watch.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar, cast

from django.db import connections
from django.http import HttpRequest

from gateway_project.lib.json import Json

# Where gateway_project/urls.py puts what pages without a socket ask.
POLLED = "/console/live/"

T = TypeVar("T")
Ask = Callable[[HttpRequest], Json]
AskLater = Callable[[HttpRequest], Awaitable[Json]]


@dataclass(frozen=True, slots=True)
class Topic:
    """Something that changes while a page is open. `ask` uses the database, `ask_later` the event loop."""

    name: str
    every_seconds: float
    ask: Ask | None = None
    ask_later: AskLater | None = None


_topics: dict[str, Topic] = {}


def live_topic(
    name: str, *, every_seconds: float = 2.0
) -> Callable[[Ask | AskLater], Ask | AskLater]:
    """Make a function the answer of a topic."""

    def register(function: Ask | AskLater) -> Ask | AskLater:
        if inspect.iscoroutinefunction(function):
            topic = Topic(name, every_seconds, ask_later=function)
        else:
            topic = Topic(name, every_seconds, ask=cast("Ask", function))
        if name in _topics:
            raise ValueError(f"There is a live topic {name!r} already.")
        _topics[name] = topic
        return function

    return register


async def with_database(work: Callable[..., T], *args: object) -> T:
    """Run what uses the database in a thread, for coroutine functions: the few threads that look up keys must
    not wait for the console.
    """
    return await asyncio.to_thread(_close_after, work, args)


def _close_after(work: Callable[..., T], args: tuple[object, ...]) -> T:
    try:
        return work(*args)
    finally:
        connections.close_all()


def topic_of(name: object) -> Topic | None:
    return _topics.get(name) if isinstance(name, str) else None


def topic_names() -> tuple[str, ...]:
    return tuple(_topics)
