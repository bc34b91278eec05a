"""The figures of reports: what was used, and about how long calls took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from operator import add, attrgetter

from tenants.billing import histograms


@dataclass(frozen=True, slots=True)
class Used:
    """Hold what was used. Requests are what clients sent, calls what was sent to upstreams for them; tokens
    are disjoint. `hits` of the requests were answered by the response cache, which saved `saved_nano`; their
    tokens are no model's, and not among these. `cost_nano` is None for whoever may not see what calls cost
    the platform."""

    requests: int = 0
    calls: int = 0
    failed: int = 0
    absorbed: int = 0
    estimated: int = 0
    unpriced: int = 0
    hits: int = 0
    incomplete: int = 0
    client_gone: int = 0
    cancelled: int = 0
    abandoned: int = 0
    input: int = 0
    cached: int = 0
    written: int = 0
    output: int = 0
    reasoning: int = 0
    charge_nano: int = 0
    saved_nano: int = 0
    cost_nano: int | None = 0

    @classmethod
    def of(cls, figures: Mapping[str, int], *, with_cost: bool) -> Used:
        """Take them from the figures of a query."""
        known = {name: figures[name] for name in _NAMES}
        return cls(**known, cost_nano=figures["cost_nano"] if with_cost else None)

    def __add__(self, other: Used) -> Used:
        is_known = self.cost_nano is not None and other.cost_nano is not None
        cost = (self.cost_nano or 0) + (other.cost_nano or 0) if is_known else None
        values = (*map(add, _counts(self), _counts(other)), cost)  # what it costs is the last field
        return Used(*values)

    @property
    def tokens(self) -> int:
        return self.input + self.cached + self.written + self.output + self.reasoning

    @property
    def errors(self) -> int:
        """Count requests that no upstream answered: failures after which nothing else was tried."""
        return self.failed - self.absorbed + self.abandoned

    @property
    def answered(self) -> int:
        """Count requests that were answered in full."""
        others = self.errors + self.incomplete + self.client_gone + self.cancelled
        return max(0, self.requests - others)

    @property
    def success_percent(self) -> float | None:
        """Return how many of the requests whose client waited for it were answered, in part or in full."""
        waited = self.requests - self.client_gone - self.cancelled
        return None if waited <= 0 else max(0.0, 100 - 100 * self.errors / waited)

    @property
    def failed_percent(self) -> float:
        return 100 * self.errors / self.requests if self.requests else 0.0

    @property
    def estimated_percent(self) -> float:
        return 100 * self.estimated / self.calls if self.calls else 0.0

    @property
    def margin_nano(self) -> int | None:
        return None if self.cost_nano is None else self.charge_nano - self.cost_nano


_NAMES = tuple(field.name for field in fields(Used) if field.name != "cost_nano")
_counts = attrgetter(*_NAMES)
NOTHING = Used()


@dataclass(frozen=True, slots=True)
class Latency:
    """About how many milliseconds answered calls took; None where there were none."""

    duration_p50: int | None = None
    duration_p95: int | None = None
    first_token_p50: int | None = None
    first_token_p95: int | None = None

    @classmethod
    def of(cls, figures: Mapping[str, int]) -> Latency:
        """Read it from the histograms among the figures of a query."""
        return cls(
            *(
                histograms.percentile(histograms.counts_in(figures, name), percent)
                for name in ("duration", "first_token")
                for percent in (50, 95)
            )
        )
