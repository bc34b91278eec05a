"""Counters of guesses are shared through Redis, and go on without it."""

from __future__ import annotations

import os

import pytest

from gateway_project.lib.shared_cache import SharedCache

AWAY = "redis://127.0.0.1:1/0"


def use(cache: SharedCache) -> list[object]:
    cache.delete("guesses")
    return [
        cache.get("guesses", 0),
        cache.add("guesses", 1, 60),
        cache.add("guesses", 9, 60),
        cache.incr("guesses"),
        cache.get("guesses"),
        cache.delete("guesses"),
        cache.get("guesses"),
    ]


EXPECTED = [0, True, False, 2, 2, True, None]


@pytest.mark.redis
def test_every_process_counts_what_the_others_do() -> None:
    url = os.environ["REDIS_URL"]
    one, other = (SharedCache(url, {"KEY_PREFIX": "tests"}) for _ in range(2))

    assert use(one) == EXPECTED
    one.set("guesses", 1, 60)
    assert other.incr("guesses") == 2
    assert one.get("guesses") == 2
    one.delete("guesses")


def test_without_redis_a_process_counts_for_itself_and_asks_it_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache = SharedCache(AWAY, {"KEY_PREFIX": "tests"})

    assert use(cache) == EXPECTED
    assert len(caplog.records) == 1  # and not once for every question
