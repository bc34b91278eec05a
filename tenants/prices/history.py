"""The published prices of one subject, and which of them counted when; a value read with the route."""

from __future__ import annotations

from msgspec import Struct

from tenants.prices.rating import Terms


class History(Struct, frozen=True):
    """`versions`, the latest first. `is_free`: known to cost nothing, because whoever is asked pays the
    provider themselves; without it and without versions there is no price."""

    versions: tuple[Terms, ...] = ()
    is_free: bool = False

    def at(self, timestamp: float) -> Terms | None:
        """The version that counts for a call opened then; None if there was none."""
        for version in self.versions:
            if version.effective_from <= timestamp:
                return version
        return None


UNPRICED = History()
FREE = History(is_free=True)
