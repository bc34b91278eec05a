"""GCRA: what a bucket lets in over any time is its limit, and what it says is what it then does."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_project.lib import rates
from gateway_project.lib.rates import Rate
from tenants.limits import headers, memory, policy
from tenants.limits.memory import Buckets
from tenants.limits.policy import RateLimits
from tests.plugins.cases import cases


def limits(text: str, who: str = "1") -> RateLimits:
    return RateLimits(policy.of_rates("key", who, rates.parse(text)))


class Clock:
    def __init__(self) -> None:
        self.now = 5_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr("tenants.limits.memory.clock.monotonic", fake)
    return fake


def test_a_full_window_comes_in_at_once_and_then_one_for_each_share_of_it(clock: Clock) -> None:
    buckets, of = Buckets(), limits("60 requests/minute")
    assert all(buckets.take_now(of, 0).refused < 0 for _ in range(60))
    refused = buckets.take_now(of, 0)
    assert refused.refused == 0
    assert refused.wait == pytest.approx(1.0)
    clock.now += 0.99
    assert buckets.take_now(of, 0).refused == 0
    clock.now += 0.01
    assert buckets.take_now(of, 0).refused < 0
    assert buckets.take_now(of, 0).refused == 0


@given(
    amount=st.integers(1, 50),
    window=st.sampled_from(("minute", "hour", "day")),
    pauses=st.lists(st.floats(0, 100), min_size=1, max_size=200),
)
def test_whenever_they_come_no_more_are_let_in_than_the_limit_and_what_time_has_added(
    amount: int, window: str, pauses: list[float]
) -> None:
    fake, buckets, of = Clock(), Buckets(), limits(f"{amount} requests/{window}")
    began, admitted = fake.now, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tenants.limits.memory.clock.monotonic", fake)
        for pause in pauses:
            fake.now += pause
            verdict = buckets.take_now(of, 0)
            admitted += verdict.refused < 0
            most = amount + (fake.now - began) * amount / of.all[0].seconds
            assert admitted <= math.floor(most + 0.01)
            if verdict.refused >= 0:
                assert headers.remaining(of.all[0], verdict.levels[0]) == 0
                fake.now += verdict.wait
                assert buckets.take_now(of, 0, commit=False).refused < 0
                fake.now -= verdict.wait


def test_all_limits_are_charged_or_none(clock: Clock) -> None:
    buckets = Buckets()
    of = limits("5 requests/minute, 100 tokens/minute, 2 concurrency")
    assert buckets.take_now(of, 60).refused < 0
    assert buckets.take_now(of, 60).refused == 1
    left = [
        headers.remaining(limit, level)
        for limit, level in zip(of.all, buckets.take_now(of, 0, commit=False).levels, strict=True)
    ]
    assert left == [4, 40, 1]


def test_the_one_that_refuses_for_longest_is_the_one_that_is_told(clock: Clock) -> None:
    buckets, of = Buckets(), limits("1 requests/minute, 1 requests/day")
    buckets.take_now(of, 0)
    verdict = buckets.take_now(of, 0)
    assert verdict.refused == 1
    assert verdict.wait == pytest.approx(86_400)


def test_what_was_charged_too_much_comes_back_and_what_was_too_little_is_owed(clock: Clock) -> None:
    buckets, of = Buckets(), limits("600 tokens/minute")
    buckets.take_now(of, 500)
    buckets.correct(of, -400)
    assert headers.remaining(of.all[0], buckets.take_now(of, 0).levels[0]) == 500
    buckets.correct(of, 1_100)
    assert buckets.take_now(of, 1).wait == pytest.approx(60.1)
    buckets.correct(of, -10_000)
    assert (
        headers.remaining(of.all[0], buckets.take_now(of, 0).levels[0]) == 600
    )  # never more than all


def test_a_limit_of_a_unit_binds_those_who_use_it(clock: Clock) -> None:
    buckets, of = Buckets(), RateLimits(policy.of_rates("key", "1", [Rate("pages", 10, "day")]))
    assert buckets.take_now(of, 0, units={"pages": 8}).refused == -1
    assert buckets.take_now(of, 0, units={"pages": 3}).refused == 0
    buckets.correct(of, 0, {"pages": 3})
    assert buckets.take_now(of, 9).refused == -1
    buckets.correct(of, 0, {"pages": -5})
    levels = buckets.take_now(of, 0, units={"pages": 1}).levels
    assert headers.remaining(of.all[0], levels[0]) == 3


def test_places_are_given_back(clock: Clock) -> None:
    buckets, of = Buckets(), limits("2 concurrency")
    assert [buckets.take_now(of, 0).refused for _ in range(3)] == [-1, -1, 0]
    buckets.release(of, "")
    assert [buckets.take_now(of, 0).refused for _ in range(2)] == [-1, 0]
    for _ in range(5):
        buckets.release(of, "")
    assert [buckets.take_now(of, 0).refused for _ in range(3)] == [-1, -1, 0]


def test_a_share_lets_in_its_part_and_never_nothing(clock: Clock) -> None:
    quarter, of = Buckets(1 / 4), limits("8 requests/minute")
    assert [quarter.take_now(of, 0).refused for _ in range(3)] == [-1, -1, 0]
    large = limits("100 tokens/minute", "2")
    assert quarter.take_now(large, 90).refused < 0  # an empty one takes what the whole would
    assert quarter.take_now(large, 1).refused == 0
    assert quarter.take_now(limits("1 concurrency"), 0).refused < 0


def test_what_is_empty_again_is_forgotten(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SWEEP_AT_LEAST", 100)
    buckets = Buckets()
    for number in range(10_000):
        buckets.take_now(limits("60 requests/minute", str(number)), 0)
        clock.now += 0.05
    assert len(buckets) <= 200


@cases(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (0.009, "9ms"),
        (0.0001, "1ms"),
        (1, "1s"),
        (1.5, "1.5s"),
        (60, "1m0s"),
        (360, "6m0s"),
        (86_399.9999, "24h0m0s"),
        (3_661.5, "1h1m1.5s"),
    ],
)
def test_resets_are_written_as_go_writes_them(seconds: float, shown: str) -> None:
    assert headers.go_duration(seconds) == shown


def test_headers_tell_of_the_tightest_limit_and_of_all() -> None:
    of = limits("100 requests/minute, 1000 requests/day, 5000 tokens/minute, 4 concurrency")
    told = headers.of(of, [0.6, 86_400 * 0.999, 6.0, 1])
    assert told == {
        "x-ratelimit-limit-requests": "1000",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "23h58m33.6s",
        "x-ratelimit-limit-tokens": "5000",
        "x-ratelimit-remaining-tokens": "4500",
        "x-ratelimit-reset-tokens": "6s",
        "ratelimit-policy": '"key-requests-minute";q=100;w=60, "key-requests-day";q=1000;w=86400, '
        '"key-tokens-minute";q=5000;w=60;qu="tokens", "key-concurrency";q=4;qu="concurrent-requests"',
        "ratelimit": '"key-requests-minute";r=99;t=1, "key-requests-day";r=1;t=86314, '
        '"key-tokens-minute";r=4500;t=6, "key-concurrency";r=3',
    }


@cases(
    "text",
    [
        "60",
        "60 requests",
        "0 requests/minute",
        "-1 tokens/day",
        "5 concurrency/day",
        "1 requests/minute, 2 requests/minute",
    ],
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(rates.RateError, match=text.split(",", maxsplit=1)[0]):
        rates.parse(text)
