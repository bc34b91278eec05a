"""Units of the tests alone: nothing but an entry of the registry."""

from __future__ import annotations

import pytest

from tenants import units
from tenants.units import Unit

PAGES = Unit("pages", "pages", "pages of documents", priced_per=1_000)
# Kept in milliseconds, priced by the minute, shown in seconds; a further kind costs the same unless priced.
CLIPS = Unit("clip_ms", "seconds of clips", "length", priced_per=60_000, decimals=3)
LOUD = Unit("loud_ms", "seconds of loud clips", "length", "clip_ms", 60_000, 3)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry with these units, for one test."""
    monkeypatch.setattr(units, "REGISTRY", dict(units.REGISTRY))
    for unit in (CLIPS, LOUD, PAGES):  # not in the order in which PostgreSQL keeps names
        units.register(unit)
