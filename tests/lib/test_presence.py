"""A client's leaving is told to whoever watches it, by our protocol and by ASGI's message alike."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway_project.lib.presence import Presence, of_client
from gateway_project.serving.http import HttpProtocol
from tests.plugins.cases import cases
from tests.support.one_app import Asked, served
from tests.support.patience import GIVE_UP_SECONDS

each_server = cases("protocol", [HttpProtocol, HttpToolsProtocol])

LARGE = 300_000  # bytes; more than the server reads ahead


class Watching:
    """An application that reads a request's body and then does as it is told until its client leaves."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.left = asyncio.Event()
        self.calls = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await self.watch(of_client(scope, receive))

    async def watch(self, presence: Presence) -> None:
        presence.watch(self.left.set)
        self.calls += 1
        self.began.set()
        await self.left.wait()
        presence.unwatch()


async def seen(event: asyncio.Event) -> None:
    async with asyncio.timeout(GIVE_UP_SECONDS):
        await event.wait()


def post(asked: Asked, size: int) -> None:
    asked.ask("POST", f"content-length: {size}\r\n")
    asked.say(b"x" * size)


@each_server
@cases("size", [0, LARGE])
async def test_leaving_is_told(protocol: type[HttpToolsProtocol], size: int) -> None:
    app = Watching()
    async with served(app, protocol) as asked:
        post(asked, size)
        await seen(app.began)
        assert not app.left.is_set()
        asked.leave()
        await seen(app.left)


@each_server
async def test_who_watches_after_it_is_told_all_the_same(
    protocol: type[HttpToolsProtocol],
) -> None:
    class Twice(Watching):
        async def watch(self, presence: Presence) -> None:
            await super().watch(presence)
            assert presence.has_left
            self.left.clear()
            presence.watch(self.left.set)
            assert not self.left.is_set()  # never before `watch` is over
            await seen(self.left)
            self.calls += 1

    app = Twice()
    async with served(app, protocol) as asked:
        post(asked, 0)
        await seen(app.began)
        asked.leave()
    assert app.calls == 2


@each_server
async def test_who_does_not_watch_any_more_is_not_told(protocol: type[HttpToolsProtocol]) -> None:
    class Unwatching(Watching):
        async def watch(self, presence: Presence) -> None:
            gone = asyncio.Event()
            presence.watch(gone.set)
            presence.unwatch()
            presence.watch(self.left.set)
            self.began.set()
            await self.left.wait()
            assert not gone.is_set()
            self.calls += 1

    app = Unwatching()
    async with served(app, protocol) as asked:
        post(asked, 0)
        await seen(app.began)
        asked.leave()
        await seen(app.left)
    assert app.calls == 1


async def test_leaving_is_told_although_another_request_waits_behind_this_one() -> None:
    app = Watching()
    async with served(app) as asked:
        post(asked, 0)
        post(asked, 0)
        await seen(app.began)
        asked.leave()
        await seen(app.left)
    assert app.calls == 1
