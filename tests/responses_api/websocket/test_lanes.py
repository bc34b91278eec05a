"""Lanes: one after the other on a lane, lanes beside each other, and no more than fits."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tests.plugins.cases import cases
from tests.support import grammar
from tests.support.patience import until
from tests.support.sockets import Socket, opened, text_of

Json = dict[str, Any]

PROTOCOLS = ("chat", "responses", "anthropic")
SLOW = "[chunks=40] [pace=5]"
HELD = "[chunks=40] [pace=600000]"  # until the sandbox is told to hurry


def by_lane(ws: Socket, count: int) -> dict[str, list[Json]]:
    """The events of so many responses by lane, without the lane, in which each keeps to the grammar; and
    under "" those of the default lane."""
    lanes: dict[str, list[Json]] = {}
    ended = 0
    while ended < count:
        event = ws.receive()
        lanes.setdefault(event.pop("stream_id", ""), []).append(event)
        ended += event["type"] in {*grammar.TERMINAL, "error"}
    return lanes


def answers(events: list[Json]) -> list[Json]:
    """The responses of one lane, one after the other."""
    found, start = [], 0
    for end, event in enumerate(events, 1):
        if event["type"] in grammar.TERMINAL:
            found.append(grammar.check(events[start:end]))
            start = end
    assert start == len(events)
    return found


@cases("protocol", PROTOCOLS)
def test_lanes_go_on_beside_each_other(gateway, ws, protocol):
    model = f"sandbox-{protocol}"
    ws.create(model, input=HELD)
    until(lambda: len(gateway.sandbox.calls) == 1)
    ws.create(model, input="Quick", stream_id="side")
    order: list[str] = []
    events: dict[str, list[Json]] = {"": [], "side": []}
    while len(order) < 2:
        event = ws.receive()
        lane = event.pop("stream_id", "")
        events[lane].append(event)
        if event["type"] in grammar.TERMINAL:
            order.append(lane)
            gateway.sandbox.hurry()

    assert order == ["side", ""]
    assert [text_of(answer) for answer in answers(events["side"])] == ["You said: Quick"]
    assert len(answers(events[""])) == 1


def test_every_event_of_a_named_lane_carries_its_id_and_the_others_none(ws):
    ws.create(stream_id="a.b-C_9")
    ws.create("nothing", stream_id="a.b-C_9")
    ws.create(generate=False, stream_id="a.b-C_9")
    named = [*ws.events(), *ws.events(), *ws.events()]
    assert {event.get("stream_id") for event in named} == {"a.b-C_9"}

    ws.create(stream_id=None)
    assert not any("stream_id" in event for event in ws.events())


def test_a_lane_is_first_in_first_out(ws):
    for number in range(5):
        ws.create(input=f"{number} [chunks=0]", stream_id="one")
        ws.create("sandbox-chat", input=f"{number}", stream_id="two")
    lanes = by_lane(ws, 10)
    for lane in ("one", "two"):
        said = [text_of(answer) for answer in answers(lanes[lane])]
        assert said == [f"You said: {number}" for number in range(5)]


def test_without_an_id_nothing_overlaps(gateway, ws):
    for _ in range(3):
        ws.create(input="[chunks=10] [pace=5]")
    for _ in range(3):
        ws.response()
    gateway.idle()
    calls = list(gateway.sandbox.calls)
    assert all(one.ended_at <= other.started_at for one, other in pairwise(calls))


def test_more_active_responses_than_allowed_wait(gateway, acme):
    gateway.limit_sockets(active=2)
    with opened(gateway, acme.headers) as ws:
        for lane in ("a", "b", "c", "d"):
            ws.create(input=SLOW, stream_id=lane)
        lanes = by_lane(ws, 4)
    assert all(len(answers(events)) == 1 for events in lanes.values())
    gateway.idle()
    a, b, c, d = sorted(gateway.sandbox.calls, key=lambda call: call.started_at)
    assert c.started_at >= min(a.ended_at, b.ended_at)
    assert d.started_at >= sorted((a.ended_at, b.ended_at, c.ended_at))[1]


def test_sixteen_responses_may_be_active(gateway, ws):
    for number in range(17):
        ws.create(input="[chunks=2] [pace=600000]", stream_id=f"lane-{number}")
    until(lambda: len(gateway.sandbox.calls) == 16)
    # One makes room for the one that waits, which is hurried with the others.
    gateway.sandbox.calls[0].body["input"] = "the first"
    gateway.sandbox.hurry("the first")
    until(lambda: len(gateway.sandbox.calls) == 17)
    gateway.sandbox.hurry()
    lanes = by_lane(ws, 17)
    assert len(lanes) == 17
    gateway.idle()
    calls = sorted(gateway.sandbox.calls, key=lambda call: call.started_at)
    assert calls[16].started_at >= min(call.ended_at for call in calls[:16])


def test_a_connection_has_at_most_32_named_lanes(ws):
    for number in range(32):
        ws.create(generate=False, stream_id=f"lane-{number}")
        assert ws.events()[-1]["type"] == "response.completed"

    ws.create(stream_id="lane-32")
    error = ws.error()
    assert (error["status"], error["error"]["code"]) == (400, "websocket_stream_limit_reached")
    assert (error["stream_id"], error["error"]["param"]) == ("lane-32", "stream_id")

    ws.create(stream_id="lane-0")
    assert ws.events()[-1]["type"] == "response.completed"
    assert ws.turn()["status"] == "completed"


@cases("lane", ["", "a b", "a/b", "ä", "x" * 257, "a\n", 7, ["a"], {"a": 1}, True])
def test_an_id_that_is_none_is_refused_and_not_repeated(ws, lane):
    ws.create(stream_id=lane)
    error = ws.error()
    assert (error["error"]["code"], error["error"]["param"]) == ("invalid_stream_id", "stream_id")
    assert "stream_id" not in error
    assert ws.turn(stream_id="x" * 256)["status"] == "completed"


def test_a_lane_can_fork_off_anothers_response(gateway, ws):
    first = ws.turn(input="My name is Ada.", store=False)
    for lane in ("left", "right"):
        ws.create(
            input=f"Go {lane}.", previous_response_id=first["id"], store=False, stream_id=lane
        )
    lanes = by_lane(ws, 2)

    gateway.idle()
    bodies = {str(call.body) for call in list(gateway.sandbox.calls)[1:]}
    assert all("My name is Ada." in body for body in bodies)
    assert sum("Go left." in body for body in bodies) == 1
    assert all(len(answers(events)) == 1 for events in lanes.values())


def waiting(gateway) -> tuple[int, int]:
    """Count the frames that wait at the only connection's lanes, and those that its server holds."""

    def look() -> tuple[int, int]:
        (connection,) = gateway.worker.services.registry.sockets
        (protocol,) = [
            found for found in gateway.server.server_state.connections if hasattr(found, "queue")
        ]
        return connection.lanes.waiting_count, protocol.queue.qsize()

    return gateway.call(look)


@cases("limits", [{"waiting": 4}, {"waiting_bytes": 40_000}], ids=str)
def test_nothing_more_is_read_than_may_wait(gateway, acme, limits):
    gateway.limit_sockets(**limits)
    filling: Json = {"instructions": "x" * 10_000, "store": False}
    with opened(gateway, acme.headers) as ws:
        ws.create(input="[wait=600000] Hello", **filling)
        for number in range(50):
            ws.create(input=f"{number}", **filling)
        until(lambda: waiting(gateway)[0] >= 4 and len(gateway.sandbox.calls) == 1)
        at_lanes, at_server = waiting(gateway)
        assert at_lanes <= 5
        assert at_server <= 64  # what came with the last bytes that were read
        gateway.sandbox.hurry()
        ws.response()
        said = [text_of(ws.response()) for _ in range(50)]
    assert said == [f"You said: {number}" for number in range(50)]
