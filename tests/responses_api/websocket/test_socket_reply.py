"""An answer as frames: one event each, none lost, none twice."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from gateway_project.lib.sse import COMMENT, DONE, named_event
from responses_api.websocket.response_writer import SocketResponseWriter, events_in


def event(number: int, kind: str = "response.output_text.delta", text: str = "hi") -> bytes:
    body = orjson.dumps({"type": kind, "sequence_number": number, "delta": text})
    return named_event(kind.encode(), body)


def numbers(frames: list[str]) -> list[int]:
    return [orjson.loads(frame)["sequence_number"] for frame in frames]


def test_every_event_is_a_frame_and_nothing_else_is() -> None:
    keepalive = event(1, "keepalive")
    stream = event(0) + COMMENT + keepalive + event(1, text="\n\ndata: {}\n\n") + DONE
    frames = events_in(stream)
    assert numbers(frames) == [0, 1]
    assert orjson.loads(frames[1])["delta"] == "\n\ndata: {}\n\n"


def test_a_lanes_id_is_put_into_the_event_as_it_is() -> None:
    body = b'{"type":"x","sequence_number":7,"odd":1e400,"stream_id":"theirs"}'
    (frame,) = events_in(named_event(b"x", body), b',"stream_id":"ours"}')
    assert frame == body[:-1].decode() + ',"stream_id":"ours"}'


async def test_what_an_interruption_held_back_goes_out_first() -> None:
    sent: list[str] = []
    is_open = asyncio.Event()
    is_open.set()

    async def send(text: str) -> None:
        await is_open.wait()
        sent.append(text)
        if len(sent) == 2:
            is_open.clear()

    reply = SocketResponseWriter(send, "req_1")
    await reply.start_stream(closing=False)
    sending = asyncio.ensure_future(reply.send(b"".join(map(event, range(5))), more=True))
    await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    is_open.set()
    await reply.send(event(5), more=False)

    assert numbers(sent) == [0, 1, 2, 3, 4, 5]
    assert reply.has_ended
