"""The kill loop's comparison finds what is planted: losses, doubles, wrong amounts, late counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import orjson

from bench.chaos import truth
from bench.chaos.accounts import Row, Seen, Sent
from bench.chaos.asking import KINDS, wish
from bench.chaos.clients import note, text_bytes
from bench.chaos.comparing import NOTE_TOKENS, WIRE_TOKENS, Findings, compare
from bench.chaos.rates import CHARGES, COSTS
from bench.chaos.wire import Answer
from tests.plugins.cases import cases

MARKER = "chaos-0000001"
TOKENS = (20, 100, 5)
CUT, UNSENT = (30, 90, 0), (30, 0, 0)
ALIAS = "sandbox-chat"

CALL = Sent(1, MARKER, "chat", is_whole=True, tokens=TOKENS, text_tokens=100, streamed=True)
ROW = Row(
    "01", MARKER, ALIAS, "completed", "provider", TOKENS, 0,
    CHARGES[ALIAS].of(TOKENS), COSTS[ALIAS].of(TOKENS),
)  # fmt: skip
CUT_CALL = replace(CALL, is_whole=False, tokens=None)
CUT_ROW = replace(
    ROW, status="abandoned", source="counted", tokens=CUT, charge_nano=CHARGES[ALIAS].of(CUT),
    cost_nano=COSTS[ALIAS].of(CUT),
)  # fmt: skip
NEVER_SENT = replace(
    CUT_ROW, id="00", source="reserved", tokens=UNSENT, charge_nano=CHARGES[ALIAS].of(UNSENT),
    cost_nano=COSTS[ALIAS].of(UNSENT),
)  # fmt: skip


def seen(ends: int = 0, cuts: int = 0, text_bytes: int = 0) -> Seen:
    return Seen(MARKER, "chat stream", ALIAS, 1, ends, cuts, text_bytes)


def found(sent: list[Sent], rows: list[Row], *clients: Seen) -> Findings:
    return compare(sent, rows, clients)


def test_a_call_with_its_row_is_right() -> None:
    found_here = found([CALL], [ROW], seen(ends=1))
    assert (found_here.sent, found_here.rows, found_here.seen) == (1, 1, 1)
    assert found_here.offenders == []


def test_an_answer_that_ended_early_is_right_where_a_budget_may_have_ended_it() -> None:
    early = replace(CUT_ROW, status="incomplete")
    at_its_end = seen(ends=1)
    assert len(compare([CUT_CALL], [early], [at_its_end]).mispriced) == 1
    assert compare([CUT_CALL], [early], [at_its_end], may_end_early=True).offenders == []
    assert compare([CUT_CALL], [CUT_ROW], [at_its_end], may_end_early=True).mispriced


def test_what_a_budget_did_not_pay_for_is_part_of_the_price() -> None:
    part = replace(ROW, charge_nano=ROW.charge_nano - 7)
    assert len(found([CALL], [part]).mispriced) == 1
    assert found([CALL], [replace(part, unfunded_nano=7)]).offenders == []


def test_a_call_without_a_row_is_lost_and_named() -> None:
    (sentence,) = found([CALL], []).lost
    assert MARKER in sentence
    assert "number=1" in sentence


def test_of_two_calls_with_one_row_the_one_without_is_lost() -> None:
    (sentence,) = found([CUT_CALL, replace(CALL, number=2)], [ROW]).lost
    assert "is_whole=False" in sentence


def test_a_second_row_for_one_call_is_one_too_many() -> None:
    assert len(found([CALL], [ROW, replace(ROW, id="02")]).duplicated) == 1


def test_the_same_id_twice_is_found_even_with_two_calls() -> None:
    assert len(found([CALL, replace(CALL, number=2)], [ROW, ROW]).duplicated) == 1


def test_a_row_of_a_worker_that_died_before_it_sent_is_no_double() -> None:
    found_here = found([CALL], [NEVER_SENT, ROW], seen(ends=1))
    assert found_here.never_sent == 1
    assert found_here.offenders == []


def test_a_row_with_output_but_no_call_is_one_too_many() -> None:
    assert len(found([], [CUT_ROW]).duplicated) == 1


@cases(
    "changes",
    [
        {"charge_nano": ROW.charge_nano + 1},
        {"cost_nano": ROW.cost_nano - 1},
        {"tokens": (20, 99, 5)},
        {"other_tokens": 1},
    ],
)
def test_a_report_booked_wrongly_is_mispriced(changes) -> None:
    assert found([CALL], [replace(ROW, **changes)]).mispriced


def test_an_abandoned_row_is_priced_too() -> None:
    assert found([CUT_CALL], [replace(CUT_ROW, charge_nano=0)]).mispriced


def test_who_saw_the_end_of_a_call_does_not_find_it_abandoned() -> None:
    assert found([CALL], [CUT_ROW], seen(ends=1)).mispriced
    assert not found([CALL], [CUT_ROW], seen(cuts=1)).mispriced


def test_who_saw_an_end_that_was_never_sent_is_told() -> None:
    assert found([], [], seen(ends=1)).mispriced


def test_a_report_of_a_call_that_did_not_end_is_none() -> None:
    assert found([CUT_CALL], [ROW]).mispriced


@cases("missing", [0, NOTE_TOKENS])
def test_an_abandoned_row_may_lack_what_was_not_noted_yet(missing) -> None:
    received = seen(cuts=1, text_bytes=4 * (90 + missing))
    found_here = found([CUT_CALL], [CUT_ROW], received)
    assert (found_here.abandoned, found_here.gap_seen) == (1, missing)
    assert found_here.offenders == []


def test_an_abandoned_row_that_lacks_more_is_found() -> None:
    received = seen(cuts=1, text_bytes=4 * (90 + NOTE_TOKENS + 1))
    assert len(found([CUT_CALL], [CUT_ROW], received).undercounted) == 1
    too_many = replace(CUT_CALL, text_tokens=90 + NOTE_TOKENS + WIRE_TOKENS + 1)
    assert len(found([too_many], [CUT_ROW], seen(cuts=1)).undercounted) == 1


def test_a_key_makes_one_call_for_each_time_it_was_cut_and_one_more() -> None:
    client = Seen(MARKER, "chat json idempotent", ALIAS, attempts=3, ends=2, cuts=1)
    calls = [CUT_CALL, replace(CALL, number=2)]
    rows = [CUT_ROW, replace(ROW, id="02")]
    assert found(calls, rows, client).offenders == []
    calls, rows = [*calls, replace(CALL, number=3)], [*rows, replace(ROW, id="03")]
    assert len(found(calls, rows, client).duplicated) == 1


def test_calls_are_told_apart_by_their_markers() -> None:
    other = "chaos-0000002"
    found_here = found([CALL, replace(CALL, number=2, marker=other)], [ROW])
    assert [other in sentence for sentence in found_here.lost] == [True]


@cases(
    ("protocol", "report", "tokens"),
    [
        ("anthropic", {"input_tokens": 7, "output_tokens": 9}, (7, 9, 0)),
        (
            "chat",
            {
                "prompt_tokens": 7,
                "completion_tokens": 9,
                "completion_tokens_details": {"reasoning_tokens": 4},
            },
            (7, 5, 4),
        ),
        (
            "responses",
            {
                "input_tokens": 7,
                "output_tokens": 9,
                "output_tokens_details": {"reasoning_tokens": 4},
            },
            (7, 5, 4),
        ),
    ],
)
def test_the_sandbox_s_log_is_read(protocol, report, tokens, tmp_path: Path) -> None:
    line = {
        "number": 3, "protocol": protocol, "stream": True, "status": 200, "ended": "completed",
        "usage": report, "text_bytes_sent": 21, "body": {"input": f"{MARKER} says"},
    }  # fmt: skip
    log = tmp_path / "calls.jsonl"
    log.write_bytes(orjson.dumps({"path": "/healthz"}) + b"\n" + orjson.dumps(line) + b"\n")
    assert list(truth.calls(log)) == [
        Sent(3, MARKER, protocol, is_whole=True, tokens=tokens, text_tokens=5, streamed=True)
    ]


def test_every_kind_is_asked_and_every_wish_bears_its_marker_twice() -> None:
    chance = Random(1)
    wishes = [wish(number, chance) for number in range(400)]
    assert {one.kind for one in wishes} == set(KINDS)
    assert {orjson.dumps(one.body).count(one.marker.encode()) for one in wishes} == {2}


def test_an_end_counts_also_where_the_connection_broke_after_it() -> None:
    asked = next(
        one for number in range(400) if (one := wish(number, Random(number))).kind == "chat stream"
    )
    delta = b'data: {"choices":[{"delta":{"content":"four"}}]}\n\n'
    client = seen()
    note(asked, Answer(200, delta + b"data: [DONE]\n\n", is_whole=False), client)
    assert (client.ends, client.cuts) == (1, 0)
    note(asked, Answer(200, delta * 2 + b'data: {"choi', is_whole=False), client)
    assert (client.ends, client.cuts, client.text_bytes) == (1, 1, 8)
    note(asked, Answer(503, b"{}", is_whole=True), client)
    assert len(client.refusals) == 1


def test_text_is_counted_at_either_door() -> None:
    delta = b'data: {"type":"response.output_text.delta","delta":"\xc3\xa4b"}\n\n'
    assert text_bytes(delta) == 3
