"""Durations as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway_project.lib import durations
from tests.plugins.cases import cases


@cases(
    ("text", "expected"),
    [
        ("45s", timedelta(seconds=45)),
        ("90m", timedelta(minutes=90)),
        ("24h", timedelta(hours=24)),
        ("30d", timedelta(days=30)),
        ("0s", timedelta(0)),
        (" 7d ", timedelta(days=7)),
    ],
)
def test_a_number_and_a_unit(text: str, expected: timedelta) -> None:
    assert durations.parse(text) == expected


@cases("text", ["", "30", "d", "1.5h", "-1d", "1w", "1d12h", "1 d", "9999999d"])
def test_anything_else_is_quoted_and_explained(text: str) -> None:
    with pytest.raises(durations.DurationError, match="is not a duration; write a whole number"):
        durations.parse(text)
