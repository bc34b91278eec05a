"""A tenant with a key."""

from __future__ import annotations

import pytest

from tests.support import rows
from tests.support.rows import Customer


@pytest.fixture
def acme(db: None) -> Customer:
    return rows.customer("acme")
