"""Name the bounds that people choose from when they make a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

DOLLAR = 10**9


@dataclass(frozen=True, slots=True)
class Preset:
    """A rate limit and a budget that fit together; none of either is without bounds.

    requests_per_minute, amount_nano   None: not bounded by that
    """

    name: str
    label: str | Promise
    requests_per_minute: int | None = None
    amount_nano: int | None = None
    period: str = ""

    def parts(self) -> dict[str, Any]:
        """Return the limits and the budget as a new key takes them."""
        limit, amount = self.requests_per_minute, self.amount_nano
        limits = (
            [] if limit is None else [{"metric": "requests", "window": "minute", "amount": limit}]
        )
        budget = None if amount is None else {"amount_nano": amount, "period": self.period}
        return {"limits": limits, "budget": budget}


PRESETS = (
    Preset("trial", _("Trial"), 20, 5 * DOLLAR, "total"),
    Preset("team", _("Team"), 120, 100 * DOLLAR, "monthly"),
    Preset("none", _("No bounds of its own")),
)
