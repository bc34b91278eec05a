"""Every recorded exchange, and a client of either door whose call is answered with one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import orjson
import pytest

from gateway_project.lib.sse import Parser
from gateway_project.lib.structure import Caps
from responses_api.doors.door import Door
from responses_api.doors.registry import BRIDGES, CHAT, RESPONSES
from responses_api.stream.upstream_reader import Identity, UpstreamReader
from routing.route import Quirks
from tests.support import meaning
from tests.support.meaning import Meaning
from tests.support.reference import path_to, recordings
from tests.support.targets import target

Json = dict[str, Any]

PROTOCOLS = ("chat", "responses", "anthropic")
DOORS: dict[str, Door] = {"chat": CHAT, "responses": RESPONSES}
ALIAS = "own-alias"
# A second message begins inside the first: no answer (https://github.com/vercel/ai/issues/18331).
SPLICED = "anthropic-src-spliced-message-start"


@dataclass(frozen=True, slots=True)
class Recorded:
    """An answer of a provider: the bytes of its stream, or of its JSON."""

    protocol: str
    raw: bytes
    streamed: bool

    @property
    def whole(self) -> Json:
        """The answer as JSON, put together by hand where it was streamed."""
        if self.streamed:
            return meaning.WHOLE[self.protocol](self.raw)
        found: Json = orjson.loads(self.raw)
        return found

    @property
    def meaning(self) -> Meaning:
        return meaning.MEANING[self.protocol](self.whole)

    @property
    def tools(self) -> list[Json]:
        """Tools, in the form of the Responses API, that its calls may have been made of."""
        if self.protocol != "responses" or not self.raw:
            return []
        calls = self.whole.get("output", ())
        names = {item["name"] for item in calls if item["type"] == "custom_tool_call"}
        return [{"type": "custom", "name": name} for name in sorted(names)]


@cache
def streams() -> list[Any]:
    """Test parameters: every recorded stream that is an answer."""
    return [each for protocol in PROTOCOLS for each in _streams(protocol)]


@cache
def answers() -> list[Any]:
    """Test parameters: every recorded JSON answer."""
    return [each for protocol in PROTOCOLS for each in _answers(protocol)]


def _streams(protocol: str) -> list[Any]:
    made: list[Any] = []
    for each in recordings(protocol, ".sse"):
        for number, stream in enumerate(meaning.streams_in(each.values[0].read_bytes())):
            # One stream of chunks is filed among the Responses.
            said = "chat" if b'"chat.completion.chunk"' in stream else protocol
            if each.id != SPLICED:
                made.append(
                    pytest.param(Recorded(said, stream, True), id=f"{said}-{each.id}-{number}")
                )
    return made


def _answers(protocol: str) -> list[Any]:
    made: list[Any] = []
    for each in recordings(protocol, ".json"):
        raw = each.values[0].read_bytes()
        if {"choices", "output", "content"} & orjson.loads(raw).keys():
            made.append(pytest.param(Recorded(protocol, raw, False), id=f"{protocol}-{each.id}"))
    return made


def failures() -> list[Any]:
    """Test parameters: every recorded answer that is an error, or none at all."""
    found: list[Any] = []
    for protocol in PROTOCOLS:
        sound = {each.values[0].raw for each in _answers(protocol)}
        for each in recordings(protocol, ".json"):
            if (raw := each.values[0].read_bytes()) not in sound:
                made = Recorded(protocol, raw, streamed=False)
                found.append(pytest.param(made, id=f"{protocol}-{each.id}"))
    return found


def spliced() -> Recorded:
    """The stream in which a second message begins inside the first."""
    raw = path_to(f"recordings/anthropic/{SPLICED}.sse").read_bytes()
    return Recorded("anthropic", raw, streamed=True)


# A client of either door


def request(door: str, model: str, recorded: Recorded, **fields: Any) -> Json:
    """Return the request of such a client."""
    tools = recorded.tools
    if door == "chat":
        tools = [{"type": "custom", "custom": {"name": tool["name"]}} for tool in tools]
        said: Json = {"messages": [{"role": "user", "content": "Hi"}]}
    else:
        said = {"input": "Hi"}
    return {"model": model, **said, **({"tools": tools} if tools else {}), **fields}


def relay(
    door: str, recorded: Recorded, *, translate: bool = False, usage: bool = True
) -> UpstreamReader:
    """The bridge that brings the answer to a client; `translate`: the provider's row asks for it."""
    asked = request(door, ALIAS, recorded, stream=recorded.streamed)
    if door == "chat" and usage and recorded.streamed:
        asked["stream_options"] = {"include_usage": True}
    call = DOORS[door].decode(orjson.dumps(asked), Caps())
    identity = Identity("own-id", ALIAS, 1_800_000_000)
    to = replace(target(recorded.protocol), quirks=Quirks(translate=translate))
    return BRIDGES[door, to.protocol].plan(call, to, identity, drop_unsupported=False).reader


def relayed(through: UpstreamReader, stream: bytes, step: int | None = None) -> bytes:
    """Return what the client gets when the stream arrives in pieces of `step` bytes."""
    step = step or len(stream)
    parser = Parser()
    out = [
        through.forward(parser.feed(stream[start : start + step]))
        for start in range(0, len(stream), step)
    ]
    out += [through.forward(parser.finish()), through.finish()]
    assert through.failure is None, through.failure
    return b"".join(out)
