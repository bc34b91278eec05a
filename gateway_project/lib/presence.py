"""Notice when the client of a request has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway_project.lib.asgi import Receive, Scope

# What a server of ours puts into a scope's extensions: the Presence at the other end of its connection.
EXTENSION = "tollgate.presence"


class Presence:
    """The presence of a client. One watcher at a time: the request that is being answered."""

    __slots__ = ("_told", "has_left")

    def __init__(self) -> None:
        self.has_left = False
        self._told: Callable[[], None] | None = None

    def watch(self, told: Callable[[], None]) -> None:
        """Call `told` once when the client has gone; if it has already, in the next turn of the loop."""
        self._told = told
        if self.has_left:
            asyncio.get_running_loop().call_soon(self._tell)

    def unwatch(self) -> None:
        """Stop watching."""
        self._told = None

    def leave(self) -> None:
        """Record that the connection is lost."""
        self.has_left = True
        self._tell()

    def _tell(self) -> None:
        told, self._told = self._told, None
        if told is not None:
            told()


class AwaitedPresence(Presence):
    """Presence read from ASGI's disconnect message, which takes a waiting task: for servers without a
    better way.
    """

    __slots__ = ("_receive", "_task")

    def __init__(self, receive: Receive) -> None:
        super().__init__()
        self._receive = receive
        self._task: asyncio.Task[None] | None = None

    def watch(self, told: Callable[[], None]) -> None:
        super().watch(told)
        self._task = asyncio.create_task(self._wait())

    def unwatch(self) -> None:
        super().unwatch()
        if self._task is not None:
            self._task.cancel()

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass  # nothing else comes after the body
        self.leave()


def of_client(scope: Scope, receive: Receive) -> Presence:
    """Return the presence of a request's client, once its body was read or if it has none."""
    extensions = scope.get("extensions") or {}
    return extensions.get(EXTENSION) or AwaitedPresence(receive)
