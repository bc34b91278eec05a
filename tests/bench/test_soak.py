"""The soak's verdict: what grows, and what is held that was not."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from bench.soak import Held, growth, held
from tests.plugins.cases import cases

BEFORE = Held(descriptors=50, sockets=20, threads=9)


def test_growth_is_that_of_the_line_through_the_samples() -> None:
    assert growth([90.0, 91.0, 92.0, 93.0]) == pytest.approx(3.0)
    assert growth([90.0, 92.0, 90.0, 92.0, 90.0]) == pytest.approx(0.0)


@cases("what", ["descriptors", "sockets", "threads"])
def test_one_more_of_anything_is_too_much(what: str) -> None:
    assert replace(BEFORE, **{what: getattr(BEFORE, what) + 1}).exceeds(BEFORE)
    assert not replace(BEFORE, **{what: getattr(BEFORE, what) - 1}).exceeds(BEFORE)
    assert not BEFORE.exceeds(BEFORE)


def test_what_a_process_holds_is_counted() -> None:
    before = held(os.getpid())
    reader, writer = os.pipe()
    try:
        after = held(os.getpid())
    finally:
        os.close(reader)
        os.close(writer)
    assert after.descriptors == before.descriptors + 2
    assert after.sockets == before.sockets
