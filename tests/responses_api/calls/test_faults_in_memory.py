"""Every fault of an upstream, whatever happens to the call meanwhile, and however far it is then.

Each call ends once, is settled once and by what it used, leaves nothing behind, and is never tried again
after its first output. The product's own Exchange, Dispatch, Attempt and HTTP client make it; the network,
the clock and the database are in memory (in_memory.py), so that a combination takes a millisecond. What
clients see of each fault over real sockets is in tests/faults.
"""

from __future__ import annotations

import random
import re

import orjson

from gateway_project.sandbox.faults import FAULTS, PREFIX
from responses_api.process.interruption import Interruption
from routing.protocols import PROTOCOLS
from tests.faults.expected import COMPLETE, MALFORMED, MISCOUNTED, code_in_a_stream, expected_of
from tests.plugins.cases import cases, sample
from tests.plugins.tiers import SEED, TIER, Tier
from tests.responses_api.calls.in_memory import DEEDS, SOUND, Call, Seen, play

# Ten million bytes, which take their time; tests/faults has it.
PLAYED = sorted(set(FAULTS) - {"huge-event"})
# What comes after the answer meets the next call.
ENDS_WELL = {"reset-keepalive", "trailing-after-done"}
# So many moments of a call, chosen by the run's seed; the proof takes them all.
MOMENTS = {Tier.DEFAULT: 2, Tier.CI: 3, Tier.PROOF: 10_000}[TIER]
# How a call ends to which this happens before it is over. That a client stalls is only seen by sending.
ENDS = {
    "client leaves": ("client_gone", "client_gone"),
    "server cancels": ("cancelled", None),
    "drain": ("failed", Interruption.DRAIN.error().code),
    "cancelled": ("cancelled", Interruption.CANCELLED.error().code),
    "revoked": ("failed", Interruption.REVOKED.error().code),
    "run_ended": ("cancelled", "run_ended"),
}
# An item that was opened is output, too.
_OUTPUT = re.compile(rb'"content":"[^"]|event: response\.output_item\.added')

each_door = cases("door", ["chat", "responses"])
each_protocol = cases("protocol", sorted(PROTOCOLS))
streamed_or_not = cases("stream", [False, True], ids=["json", "stream"])


def call_of(door: str, protocol: str, stream: bool, fault: str, *then: str) -> Call:
    # One byte at a time is slow enough as it is.
    text = "Hi" if fault == "slow-drip" else "[pace=5] Hi"
    return Call(door, protocol, stream, (PREFIX + fault if fault else SOUND, *then), text)


@sample(default=60, ci=150)
@each_door
@each_protocol
@streamed_or_not
@cases("fault", PLAYED)
def test_a_fault_ends_a_call_as_it_should(
    door: str, protocol: str, stream: bool, fault: str
) -> None:
    call = call_of(door, protocol, stream, fault)
    seen = play(call)
    check(call, seen)
    if fault in COMPLETE or fault in ENDS_WELL or (fault == "bad-json-frame" and stream):
        assert seen.outcome == ("completed", None)
        return
    assert seen.outcome[0] == "failed"
    if not began_as_stream(seen):
        error = orjson.loads(seen.body)["error"]
        of_fault = (
            expected_of(protocol, fault, stream=stream) if fault != "bad-json-frame" else MALFORMED
        )
        assert (seen.status, error["code"]) == of_fault
    else:
        assert seen.outcome[1] == code_in_a_stream(protocol, fault)


@sample(default=40, ci=80)
@each_door
@each_protocol
@streamed_or_not
@cases("fault", ["", *PLAYED])
@cases("do", sorted(DEEDS))
def test_whatever_happens_at_whatever_moment_ends_a_call_once(
    door: str, protocol: str, stream: bool, fault: str, do: str
) -> None:
    call = call_of(door, protocol, stream, fault)
    check_moments(call, do)


@sample(default=16, ci=40)
@each_door
@each_protocol
@streamed_or_not
@cases("fault", PLAYED)
def test_another_target_answers_only_where_there_was_no_output(
    door: str, protocol: str, stream: bool, fault: str
) -> None:
    call = call_of(door, protocol, stream, fault, PREFIX + "500", SOUND)
    seen = play(call)
    check(call, seen)
    first = play(call_of(door, protocol, stream, fault))
    tried = len(seen.opened)
    if has_output(first) or first.outcome[0] == "completed":
        assert tried == 1
        assert seen.outcome == first.outcome
    if tried > 1:
        assert (tried, seen.outcome) == (3, ("completed", None))
    for do in ("client leaves", "drain"):
        check_moments(call, do)


@sample(default=16, ci=40)
@each_door
@each_protocol
@streamed_or_not
@cases("fault", PLAYED)
def test_a_call_is_sent_three_times_at_most(
    door: str, protocol: str, stream: bool, fault: str
) -> None:
    call = call_of(door, protocol, stream, fault, *[PREFIX + fault] * 3, SOUND)
    seen = play(call)
    check(call, seen)
    assert len(seen.posts) <= 3
    told = dict(seen.messages[0]["headers"])[b"x-tollgate-attempts"]
    assert int(told) == len(seen.posts) or (began_as_stream(seen) and int(told) < len(seen.posts))


@each_protocol
def test_a_sign_of_life_goes_out_before_the_event_after_it(protocol: str) -> None:
    call = call_of("responses", protocol, stream=True, fault="")
    for turn in range(2, play(call).turns + 1):
        seen = play(call, turn, "sign of life")
        events = [orjson.loads(data) for data in re.findall(rb"data: ({.*})\n", seen.body)]
        numbers = [event["sequence_number"] for event in events]
        assert numbers == sorted(numbers), f"in turn {turn}"
        assert seen.is_whole


def moments(turns: int) -> list[int]:
    """Choose among the turns of a call that was left alone, from the first in which it is known to run."""
    every = range(2, turns + 1)
    if len(every) <= MOMENTS:
        return list(every)
    return sorted(random.Random(f"{SEED} {turns}").sample(every, MOMENTS))


def check_moments(call: Call, do: str) -> None:
    """Make the call again, and do that to it before one of its turns."""
    alone = play(call)
    for turn in moments(alone.turns):
        seen = play(call, turn, do)
        try:
            check(call, seen, do)
            check_interruption(seen, do, alone, turn)
        except AssertionError as error:
            error.add_note(f"{do} before turn {turn} of {alone.turns}")
            raise


def check_interruption(seen: Seen, do: str, alone: Seen, turn: int) -> None:
    """A call that is not over is ended by what happens to it, and nothing is tried after that."""
    if do not in ENDS or seen.posts_before is None or seen.was_over:
        return
    assert len(seen.posts) == seen.posts_before, "something was tried after that"
    if turn >= alone.ended_at - 1 and seen.outcome == alone.outcome:
        return  # it was ending already
    assert seen.outcome == ENDS[do]
    assert seen.was_cancelled == (do == "server cancels")


def began_as_stream(seen: Seen) -> bool:
    headers = dict(seen.messages[0]["headers"]) if seen.messages else {}
    return headers.get(b"content-type", b"").startswith(b"text/event-stream")


def has_output(seen: Seen) -> bool:
    return began_as_stream(seen) and _OUTPUT.search(seen.body) is not None


def looks_complete(call: Call, seen: Seen) -> bool:
    if not call.stream:
        return seen.status == 200 and seen.is_whole
    return (b"data: [DONE]" if call.door == "chat" else b"event: response.completed") in seen.body


def check(call: Call, seen: Seen, do: str = "") -> None:
    """Check what holds for every call."""
    assert not seen.left_over
    check_attempts(call, seen)
    is_there = do not in {"client leaves", "client stalls", "server cancels"}
    check_client(call, seen, is_there=is_there)
    check_settlement(call, seen, is_there=is_there)


def check_attempts(call: Call, seen: Seen) -> None:
    """Targets are tried in order, each once, and none after output; each attempt is settled once, after it
    was opened, and the last one as the call is."""
    opened, settled = seen.opened, seen.settled
    assert [each.upstream_model for each in opened] == list(call.models[: len(opened)])
    assert [each.id for each in settled] == [each.id for each in opened]
    assert all(
        seen.records.index(a) < seen.records.index(b) for a, b in zip(opened, settled, strict=True)
    )
    assert len(seen.posts) <= len(opened)
    assert not any(seen.posts), "an upstream was called after there was output"
    status, error = seen.outcome
    for each in settled[:-1]:
        assert (each.status, each.absorbed, sum(each.charges_nano)) == ("failed", True, 0)
    if seen.was_cancelled and settled and settled[-1].status == "completed":
        return  # by the server, while the answer was stored
    for last in settled[-1:]:
        assert (last.status, last.error_code, last.absorbed) == (status, error or "", False)


def check_client(call: Call, seen: Seen, *, is_there: bool) -> None:
    """The client's answer is what the call's one log line says it was."""
    status, error = seen.outcome
    if status == "completed":
        assert seen.status in {200, None}
        assert looks_complete(call, seen) or not is_there
        assert len(seen.stored) == 1
        return
    assert not looks_complete(call, seen)
    failures = seen.body.count(
        b'data: {"error":{' if call.door == "chat" else b"event: response.failed"
    )
    if status != "failed" and error != ENDS["cancelled"][1]:
        assert not failures
    elif is_there and began_as_stream(seen):
        assert failures == 1
        assert seen.is_whole == (call.door == "responses"), "chat's failed streams are cut"
    elif is_there:
        assert seen.is_whole
        assert seen.status is not None
        assert seen.status >= 400


def check_settlement(call: Call, seen: Seen, *, is_there: bool) -> None:
    """Each attempt is charged for what it used, and for nothing that nobody was given or asked for."""
    for each in seen.settled:
        used, charged = sum(each.tokens), sum(each.charges_nano)
        if each.usage_source == "none":
            assert (used, charged, each.cost_nano) == (0, 0, 0)
        if each.usage_source == "provider" and not call.models[0].endswith(MISCOUNTED):
            assert used in {sum(said.generated) for said in seen.calls}
        if each.status == "completed":
            assert used > 0
            assert (charged, each.unfunded_nano) == (each.cost_nano, 0)
    if not seen.posts:
        assert {each.usage_source for each in seen.settled} <= {"none"}
    status, error = seen.outcome
    if has_output(seen):
        assert sum(seen.settled[-1].tokens) > 0
    elif status == "failed" and is_there and str(error).startswith("upstream_"):
        assert not sum(seen.settled[-1].charges_nano)
