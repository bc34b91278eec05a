"""Hold the published prices of one subject, and find which applied when; a value read with the route."""

from __future__ import annotations

from msgspec import Struct

from tenants.prices.rating import Terms


class History(Struct, frozen=True):
    """The price versions of a subject, latest first.

    `is_free`: known to cost nothing, because the tenant pays the provider itself; without it and
    without versions there is no price.
    """

    versions: tuple[Terms, ...] = ()
    is_free: bool = False

    def at(self, timestamp: float) -> Terms | None:
        """Return the version that applies to a call opened then; None if there was none."""
        for version in self.versions:
            if version.effective_from <= timestamp:
                return version
        return None


UNPRICED = History()
FREE = History(is_free=True)
