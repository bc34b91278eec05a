"""Run clients that keep asking, and remember what reached them of each answer."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from bench.chaos.accounts import Seen
from bench.chaos.asking import Wish, wish
from bench.chaos.wire import Answer, Wire
from gateway_project.lib.json import Json

POLL_SECONDS = 0.1
PATIENCE_SECONDS = 5.0
REFUSED_PAUSE_SECONDS = 0.1
_ENDS = {"chat": b"data: [DONE]", "responses": b"event: response.completed\n"}
_WEBSOCKET_ENDS = ("response.completed", "response.failed", "response.incomplete", "error")


@dataclass(slots=True)
class Diary:
    """The record of what all clients saw. `unfinished` are background responses that were not waited for."""

    seen: list[Seen] = field(default_factory=list)
    unfinished: list[tuple[Seen, str]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def begin(self, asked: Wish) -> Seen:
        one = Seen(asked.marker, asked.kind, asked.alias)
        self.seen.append(one)
        return one


class Client:
    """A client that does one thing at a time, until told to stop."""

    def __init__(self, port: int, key: str, diary: Diary, chance: Random) -> None:
        self._port = port
        self._key = key
        self._diary = diary
        self._chance = chance
        self._wire = Wire(port, key)
        self._socket: ClientConnection | None = None

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            asked = wish(next(self._diary.numbers), self._chance)
            seen = self._diary.begin(asked)
            await self._do(asked, seen)
            if seen.refusals:
                await asyncio.sleep(REFUSED_PAUSE_SECONDS)
        self._wire.close()
        if self._socket is not None:
            await self._socket.close()

    async def _do(self, asked: Wish, seen: Seen) -> None:
        if asked.kind == "websocket":
            await self._turn(asked, seen)
        elif asked.kind == "background":
            await self._background(asked, seen)
        elif seen.is_idempotent:
            await self._insist(asked, seen)
        else:
            await self._post(asked, seen)

    async def _post(self, asked: Wish, seen: Seen, *headers: str) -> Answer:
        seen.attempts += 1
        answer = await self._wire.post(asked.path, orjson.dumps(asked.body), *headers)
        note(asked, answer, seen)
        return answer

    async def _insist(self, asked: Wish, seen: Seen) -> None:
        """Ask again with the same key until answered, and then once more: that one is a replay."""
        key = f"idempotency-key: {asked.marker}"
        for _ in range(3):
            await self._post(asked, seen, key)
            if seen.ends:
                await self._post(asked, seen, key)
                return

    async def _background(self, asked: Wish, seen: Seen) -> None:
        seen.attempts += 1
        answer = await self._wire.post(asked.path, orjson.dumps(asked.body))
        if not answer.is_whole:
            seen.cuts += 1
        elif answer.status != 200:
            seen.refusals.append(refusal(answer))
        else:
            response_id = orjson.loads(answer.body)["id"]
            if not await poll(self._wire, response_id, seen, PATIENCE_SECONDS):
                self._diary.unfinished.append((seen, response_id))

    async def _turn(self, asked: Wish, seen: Seen) -> None:
        seen.attempts += 1
        try:
            if self._socket is None:
                self._socket = await self._connected()
            await self._socket.send(orjson.dumps(asked.body).decode())
            await self._listen(self._socket, seen)
        except (OSError, WebSocketException, TimeoutError):
            seen.cuts += 1
            self._socket = None

    async def _connected(self) -> ClientConnection:
        return await connect(
            f"ws://127.0.0.1:{self._port}/v1/responses",
            additional_headers={"authorization": f"Bearer {self._key}"},
            compression=None,
            max_size=None,
            proxy=None,
        )

    async def _listen(self, socket: ClientConnection, seen: Seen) -> None:
        while True:
            event = orjson.loads(await socket.recv())
            if event["type"] == "response.output_text.delta":
                seen.text_bytes += len(event["delta"].encode())
            if event["type"] in _WEBSOCKET_ENDS:
                break
        if event["type"] == "response.completed":
            seen.ends += 1
        else:
            seen.refusals.append(str(event)[:300])


def note(asked: Wish, answer: Answer, seen: Seen) -> None:
    """Note an answer. Its end was seen once its event arrived, even if the connection broke right after
    it.
    """
    door = "chat" if asked.kind.startswith("chat") else "responses"
    if answer.status == 200 and asked.is_stream and _ENDS[door] in answer.body:
        seen.ends += 1
    elif not answer.is_whole:
        seen.cuts += 1
        if asked.is_stream:
            seen.text_bytes = max(seen.text_bytes, text_bytes(answer.body))
    elif answer.status == 200 and not asked.is_stream:
        seen.ends += 1
    else:
        seen.refusals.append(refusal(answer))


def text_bytes(body: bytes) -> int:
    """Count the text in the events of a stream that was cut."""
    return sum(len(text.encode()) for event in _events(body) for text in _texts(event))


def _events(body: bytes) -> Iterable[Json]:
    for line in body.split(b"\n"):
        if line.startswith(b"data: {"):
            with contextlib.suppress(orjson.JSONDecodeError):  # the last one may be torn
                yield orjson.loads(line[6:])


def _texts(event: Json) -> Iterator[str]:
    if event.get("type") == "response.output_text.delta":
        yield event["delta"]
    for choice in event.get("choices", ()):
        yield choice["delta"].get("content") or ""


def refusal(answer: Answer) -> str:
    return f"{answer.status} {answer.body[-300:].decode(errors='replace')}"


async def poll(wire: Wire, response_id: str, seen: Seen, seconds: float) -> bool:
    """Poll a background response until it has ended; False if it takes longer."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        answer = await wire.get(f"/v1/responses/{response_id}")
        status = orjson.loads(answer.body)["status"] if _is_there(answer) else ""
        if status == "completed":
            seen.ends += 1
            return True
        if status in {"failed", "incomplete", "cancelled"}:
            error = orjson.loads(answer.body)["error"]
            seen.refusals.append(f"background {status}: {error}")
            return True
        await asyncio.sleep(POLL_SECONDS)
    return False


def _is_there(answer: Answer) -> bool:
    return answer.is_whole and answer.status == 200
