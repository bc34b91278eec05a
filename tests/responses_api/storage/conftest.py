"""Fixtures of the tests about what is remembered."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import wire


@pytest.fixture(autouse=True)
def no_connection_is_left() -> Iterator[None]:
    yield
    wire.close_all()
