"""See that what happens on one lane changes that lane, those that share what failed, and nothing else."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import orjson

from gateway_project.lib.errors import (
    BadRequest,
    GatewayError,
    UpstreamAuthFailed,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamQuotaExhausted,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gateway_project.lib.secret import Secret
from routing.health import scopes
from routing.health.passage import Passage
from routing.health.table import LaneTable
from routing.protocols.shared import failures
from routing.route import ProviderLimits, ResolvedTarget
from tests.plugins.cases import cases
from tests.routing.health.fleet import Fleet, caller, lane


def fail(table: LaneTable, at: ResolvedTarget, error: GatewayError, number: int = 1) -> None:
    passage = table.enter(at, caller(number))
    assert passage is not None
    passage.failed(error)
    passage.judge(is_calls_fault=False)
    passage.leave()


def of_status(status: int, retry_after: str = "", **error: object) -> UpstreamError:
    body = orjson.dumps({"error": {"message": "no", "code": "x", **error}})
    return failures.of_response(lane(), status, body, retry_after)


def open_for(table: LaneTable, at: ResolvedTarget, now: float) -> float | None:
    until = table.of(at, now).open_until
    return None if until is None else until - now


@cases(
    ("error", "same_model", "same_account", "same_provider"),
    [
        (UpstreamUnreachable("x"), True, True, True),
        (UpstreamTimeout("x"), True, False, False),
        (of_status(500), True, False, False),
        (of_status(529), True, False, False),
        (of_status(403), False, False, False),
        (of_status(404), False, False, False),
    ],
    ids=["unreachable", "timeout", "500", "529", "403", "404"],
)
def test_failures_open_what_failed(
    error: GatewayError, same_model: bool, same_account: bool, same_provider: bool
) -> None:
    fleet = Fleet(1)
    (table,) = fleet.tables
    for number in range(5):
        fail(table, lane(), error, number)
    assert table.of(lane(), fleet.now).opened_by == "failures"
    assert table.of(lane(credential="other"), fleet.now).is_open is same_model
    assert table.of(lane(model="other"), fleet.now).is_open is same_account
    assert table.of(lane(model="other", credential="other"), fleet.now).is_open is same_provider
    assert not table.of(lane(provider="beta"), fleet.now).is_open


@cases(
    ("error", "seconds", "same_account", "same_model"),
    [
        (UpstreamRateLimited("x", retry_after_seconds=7.0), 7.0, False, False),
        (UpstreamRateLimited("x", retry_after_seconds=0.0), 1.0, False, False),
        (UpstreamRateLimited("x", retry_after_seconds=9999.0), 600.0, False, False),
        (UpstreamRateLimited("x"), 5.0, False, False),
        (UpstreamQuotaExhausted("x"), 60.0, True, False),
        (of_status(401), 60.0, True, False),
        (of_status(402), 60.0, True, False),
        (of_status(404, "", code="model_not_found", message="no model m"), 600.0, False, False),
        (UpstreamOverloaded("x", retry_after_seconds=20.0), 20.0, False, True),
    ],
    ids=["429", "429-0", "429-long", "429-bare", "quota", "401", "402", "404", "503"],
)
def test_a_hold_opens_at_once_for_as_long_as_it_says(
    error: GatewayError, seconds: float, same_account: bool, same_model: bool
) -> None:
    fleet = Fleet(1)
    (table,) = fleet.tables
    fail(table, lane(), error)
    assert open_for(table, lane(), fleet.now) == seconds
    assert table.of(lane(), fleet.now).opened_by == "hold"
    assert table.of(lane(model="other"), fleet.now).is_open is same_account
    assert table.of(lane(credential="other"), fleet.now).is_open is same_model


@cases(
    "error",
    [
        BadRequest("x"),
        UpstreamRejected("x", status=400, code=None, param=None),
        UpstreamRejected("x", status=422, code="context_length_exceeded", param=None),
        of_status(408),
        of_status(409),
        failures.of_response(lane(), 429, b'{"error": {"message": "Request too large for m"}}', ""),
        failures.of_response(lane(), 402, b'{"error": {"message": "You can only afford 12"}}', ""),
        of_status(429, code="resource_unavailable"),
        UpstreamAuthFailed("no credential"),
    ],
    ids=["ours", "400", "422", "408", "409", "429-size", "402-size", "429-flex", "none"],
)
def test_a_storm_of_clients_faults_changes_nothing(error: GatewayError) -> None:
    fleet = Fleet(2)
    for number in range(500):
        fail(fleet.tables[0], lane(), error, number)
    assert not fleet.said
    for table in fleet.tables:
        assert not table.of(lane(), fleet.now).is_open
        assert not table.open_circuits()


def test_a_call_that_every_lane_chokes_on_is_suspect_itself() -> None:
    fleet = Fleet(1)
    (table,) = fleet.tables
    for number in range(50):
        passages = [table.enter(lane(provider=name), caller(number)) for name in ("alpha", "beta")]
        for passage in passages:
            assert passage is not None
            passage.failed(of_status(500))
            passage.leave()
            passage.judge(is_calls_fault=True)
    assert not table.open_circuits()


async def find_out(fleet: Fleet) -> list[Passage]:
    """Let 64 callers in all processes try the lane at the same moment; return who got through."""

    async def one(number: int) -> Passage | None:
        table = fleet.tables[number % len(fleet.tables)]
        passage = table.enter(lane(), caller(number))
        await asyncio.sleep(0)
        return passage if passage is not None and await table.confirm(passage) else None

    return [each for each in await asyncio.gather(*map(one, range(64))) if each is not None]


def test_of_64_callers_in_four_processes_one_finds_out() -> None:
    fleet = Fleet(4)
    fail(fleet.tables[0], lane(), UpstreamRateLimited("x", retry_after_seconds=10.0))
    assert [open_for(table, lane(), fleet.now) for table in fleet.tables] == [10.0] * 4
    assert asyncio.run(find_out(fleet)) == []

    fleet.now += 10.0
    (probe,) = asyncio.run(find_out(fleet))
    fleet.now += 1.0
    assert asyncio.run(find_out(fleet)) == []
    probe.failed(UpstreamRateLimited("x", retry_after_seconds=10.0))
    probe.leave()
    assert [open_for(table, lane(), fleet.now) for table in fleet.tables] == [10.0] * 4

    fleet.now += 10.0
    (probe,) = asyncio.run(find_out(fleet))
    probe.failed(BadRequest("a client's fault"))
    probe.leave()
    fleet.now += 2.0
    (probe,) = asyncio.run(find_out(fleet))
    probe.answered(0.1)
    assert [table.of(lane(), fleet.now).is_open for table in fleet.tables] == [False] * 4
    assert len(asyncio.run(find_out(fleet))) == 64


def test_failures_of_all_processes_make_one_run() -> None:
    fleet = Fleet(4)
    for number in range(5):
        fail(fleet.tables[number % 4], lane(), UpstreamUnreachable("x"), number)
    assert all(table.of(lane(), fleet.now).is_open for table in fleet.tables)


def test_an_answer_says_nothing_to_others_unless_it_ends_a_run() -> None:
    fleet = Fleet(2)
    for number in range(100):
        passage = fleet.tables[0].enter(lane(), caller(number))
        assert passage is not None
        passage.answered(0.5)
        passage.leave()
    assert fleet.said == []
    fail(fleet.tables[1], lane(), UpstreamUnreachable("x"))
    passage = fleet.tables[0].enter(lane(), caller(1))
    assert passage is not None
    passage.answered(0.5)
    assert [message.kind for message in fleet.said] == ["fail", "answer"]


def test_an_answer_of_a_call_sent_before_does_not_close_it() -> None:
    fleet = Fleet(1)
    (table,) = fleet.tables
    early = table.enter(lane(), caller(1))
    assert early is not None
    fail(table, lane(), UpstreamRateLimited("x", retry_after_seconds=10.0))
    early.answered(0.5)
    assert table.of(lane(), fleet.now).is_open


def test_four_calls_at_once_try_a_lane_that_failed_and_none_one_that_wants_to_be_left_alone() -> (
    None
):
    fleet = Fleet(1)
    (table,) = fleet.tables
    for number in range(5):
        fail(table, lane(), UpstreamUnreachable("x"), number)
    tried = [table.enter_open(lane(), caller(number)) for number in range(10)]
    assert [each is not None for each in tried] == [True] * 4 + [False] * 6
    for passage in tried[:4]:
        assert passage is not None
        passage.leave()
    held = lane(provider="beta")
    fail(table, held, UpstreamRateLimited("x", retry_after_seconds=10.0))
    assert table.enter_open(held, caller(1)) is None


def test_a_bad_credential_is_tried_by_one_call_in_thirty_seconds() -> None:
    fleet = Fleet(1)
    (table,) = fleet.tables
    fail(table, lane(), of_status(401))
    probe = table.enter_open(lane(), caller(1))
    assert probe is not None
    probe.failed(of_status(401))
    probe.leave()
    fleet.now += 29.0
    assert table.enter_open(lane(), caller(1)) is None
    fleet.now += 1.0
    again = table.enter_open(lane(), caller(1))
    assert again is not None
    again.answered(0.1)
    assert not table.of(lane(), fleet.now).is_open


def test_a_pause_of_an_hour_is_not_taken_at_its_word_where_nothing_else_is_left() -> None:
    fleet = Fleet(2)
    here, there = fleet.tables
    fail(here, lane(), UpstreamRateLimited("x", retry_after_seconds=3600.0))
    fleet.now += 29.0
    assert here.enter_open(lane(), caller(1)) is None
    fleet.now += 1.0
    probe = there.enter_open(lane(), caller(1))
    assert probe is not None
    assert there.enter_open(lane(), caller(2)) is None
    assert here.enter(lane(), caller(1)) is None, "others would answer"
    probe.answered(0.1)
    assert not here.of(lane(), fleet.now).is_open


def test_a_tools_model_that_is_missing_holds_no_lane() -> None:
    fleet = Fleet(1)
    (table,) = fleet.tables
    for _ in range(20):
        fail(table, lane(), of_status(404, code="model_not_found", message="no draw-9 here"))
        passage = table.enter(lane(), caller(2))
        assert passage is not None
        passage.answered(0.1)
        passage.leave()
    assert not table.open_circuits()


def test_a_new_secret_clears_what_was_held_against_the_old_one() -> None:
    fleet = Fleet(2)
    old, same, new = Secret("sk-1"), Secret("sk-1"), Secret("sk-2")
    here, there = fleet.tables
    for table in fleet.tables:
        assert not table.of(_with(old), fleet.now).is_open
    fail(here, _with(old), of_status(401))
    assert here.of(_with(same), fleet.now).is_open
    assert there.of(_with(old), fleet.now).is_open
    assert not here.of(_with(new), fleet.now).is_open
    passage = here.enter(_with(new), caller(1))
    assert passage is not None
    passage.leave()
    assert here.open_circuits() == there.open_circuits() == []
    assert not there.of(_with(new), fleet.now).is_open


def _with(secret: Secret) -> ResolvedTarget:
    return replace(lane(), secret=secret)


def test_an_operator_closes_a_circuit_everywhere() -> None:
    fleet = Fleet(3)
    fail(fleet.tables[0], lane(), of_status(401))
    (shown,) = fleet.tables[1].open_circuits()
    assert (shown.scope.kind, shown.scope.provider, shown.reason) == (
        "credential", "alpha", "upstream_auth_failed",
    )  # fmt: skip
    assert scopes.read_scope(shown.scope.name) == shown.scope
    assert fleet.tables[2].reset(shown.scope.name)
    assert [table.open_circuits() for table in fleet.tables] == [[], [], []]


def test_lanes_are_measured() -> None:
    fleet = Fleet(1)
    (table,) = fleet.tables
    first = table.enter(lane(), caller(1))
    second = table.enter(lane(), caller(2))
    assert first is not None
    assert second is not None
    assert table.of(lane(), fleet.now).in_flight == 2
    first.answered(1.0)
    fleet.now += 60.0
    second.answered(3.0)
    second.leave()
    second.leave()
    seen = table.of(lane(), fleet.now)
    assert (seen.in_flight, seen.ttft_seconds) == (1, 2.0)


@cases(
    ("headers", "seconds"),
    [
        ([(b"x-ratelimit-remaining-requests", b"0"), (b"x-ratelimit-reset-requests", b"6m0s")], 360),
        ([(b"x-ratelimit-remaining-tokens", b"4"), (b"x-ratelimit-limit-tokens", b"100"),
          (b"x-ratelimit-reset-tokens", b"500ms")], 0.5),
        ([(b"x-ratelimit-remaining-tokens", b"50"), (b"x-ratelimit-limit-tokens", b"100")], 0),
        ([(b"anthropic-ratelimit-input-tokens-remaining", b"0"),
          (b"anthropic-ratelimit-input-tokens-reset", b"1970-01-01T00:17:10Z")], 30),
        ([(b"x-ratelimit-remaining-requests", b"0")], 60),
        ([(b"x-ratelimit-remaining-requests", b"-1e999"), (b"x-ratelimit-reset-requests", b"x" * 9999)], 0),
        ([(b"x-ratelimit-remaining-requests", b"0"), (b"x-ratelimit-reset-requests", b"9" * 30)], 600),
    ],
)  # fmt: skip
def test_a_lane_with_little_left_is_tight_until_the_reset(
    headers: list[tuple[bytes, bytes]], seconds: float
) -> None:
    fleet = Fleet(1)
    (table,) = fleet.tables
    passage = table.enter(lane(), caller(1))
    assert passage is not None
    passage.read_limits([(b"server", b"x"), *headers], fleet.now)
    if seconds:
        assert table.of(lane(), fleet.now + seconds - 0.01).is_tight
    assert not table.of(lane(), fleet.now + seconds).is_tight


def test_a_lane_is_tight_when_what_its_operator_allows_is_used_up() -> None:
    fleet = Fleet(1)
    (table,) = fleet.tables
    limited = lane(limits=ProviderLimits(requests_per_minute=3))
    for _ in range(3):
        assert not table.of(limited, fleet.now).is_tight
        passage = table.enter(limited, caller(1))
        assert passage is not None
        passage.leave()
    assert table.of(limited, fleet.now).is_tight
    assert not table.of(limited, fleet.now + 21.0).is_tight
    by_tokens = lane(provider="beta", limits=ProviderLimits(tokens_per_minute=100))
    passage = table.enter(by_tokens, caller(1))
    assert passage is not None
    passage.leave(200, fleet.now)
    assert table.of(by_tokens, fleet.now + 59.0).is_tight
    assert not table.of(by_tokens, fleet.now + 61.0).is_tight
    at_once = lane(provider="gamma", limits=ProviderLimits(concurrency=1))
    passage = table.enter(at_once, caller(1))
    assert passage is not None
    assert table.of(at_once, fleet.now).is_tight
    passage.leave()
    assert not table.of(at_once, fleet.now).is_tight


def test_what_is_kept_is_bounded() -> None:
    table = LaneTable(now=lambda: 0.0)
    for number in range(11_000):
        passage = table.enter(lane(model=f"m{number}"), caller(number))
        assert passage is not None
        passage.answered(0.1)
        passage.leave()
    assert table.size <= 10_000


def test_a_lane_that_begins_nothing_while_streams_wait_is_tight() -> None:
    fleet = Fleet(1)
    (table,) = fleet.tables
    for _ in range(3):
        passage = table.enter(lane(), caller(1), streams=True)
        assert passage is not None
        passage.answered(0.25)
        passage.leave()
    waiting = [table.enter(lane(), caller(number), streams=True) for number in range(2)]
    whole = table.enter(lane(provider="beta"), caller(1))
    fleet.now += 1.0
    assert not table.of(lane(), fleet.now).is_tight
    fleet.now += 0.1
    assert table.of(lane(), fleet.now).is_tight
    assert not table.of(lane(provider="beta"), fleet.now).is_tight
    (first, second) = waiting
    assert first is not None
    assert second is not None
    assert whole is not None
    first.answered(0.25)
    assert not table.of(lane(), fleet.now).is_tight
    second.leave()
    fleet.now += 60.0
    assert not table.of(lane(), fleet.now).is_tight


def test_streams_of_one_caller_that_begin_late_say_nothing_of_a_lane_that_answers_others() -> None:
    fleet = Fleet(1)
    (table,) = fleet.tables
    for number in (1, 2):
        passage = table.enter(lane(), caller(number), streams=True)
        assert passage is not None
        passage.answered(0.25)
        passage.leave()
    for _ in range(10):
        assert table.enter(lane(), caller(1), streams=True) is not None
    fleet.now += 5.0
    assert not table.of(lane(), fleet.now).is_tight
    assert table.enter(lane(), caller(2), streams=True) is not None
    fleet.now += 5.0
    assert table.of(lane(), fleet.now).is_tight


def test_a_lane_that_names_a_short_pause_again_and_again_is_asked_more_rarely() -> None:
    fleet = Fleet(4)
    asked_at = []
    for tick in range(400):
        fleet.now = 1000.0 + tick / 4
        passage = fleet.tables[tick % 4].enter(lane(), caller(tick % 3))
        if passage is not None:
            asked_at.append(fleet.now - 1000.0)
            passage.failed(UpstreamRateLimited("x", retry_after_seconds=2.0))
            passage.leave()
    assert asked_at == [0.0, 2.0, 7.0, 17.0, 37.0, 77.0]


def test_where_no_other_lane_is_left_it_is_asked_when_it_wants_to_be() -> None:
    fleet = Fleet(2)
    here, there = fleet.tables
    for _ in range(3):
        passage = here.enter(lane(), caller(1), is_last=True)
        assert passage is not None
        passage.failed(UpstreamRateLimited("x", retry_after_seconds=2.0))
        passage.leave()
        fleet.now += 2.0
    assert here.enter(lane(), caller(1)) is None
    assert there.enter(lane(), caller(1)) is None
    assert there.enter(lane(), caller(1), is_last=True) is not None
