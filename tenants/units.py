"""Define what calls are counted, priced, billed and shown in: one registry of unit classes.

Tokens have a column per class in the ledger (tenants/token_classes.py). Quantities of every other unit stand
together in one JSON column of their row, so that a new unit is an entry here and no migration
(docs/adr/0020-units-beside-tokens.md). Names stand in rows, prices and invoices for good: an entry is never
renamed and never removed. No Django, because protocol code counts in these units.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal

from msgspec import Struct

from tenants.token_classes import TOKEN_CLASSES, Quantities

MILLION = 1_000_000
# More than any call can use; beyond it a report is nonsense, and no ledger could keep it.
MOST_QUANTITY = 10**12
# What the narrowest column of names holds, that of rate limits.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,15}\Z")
# What rate limits count by themselves.
COUNTED_BY_CALL = ("requests", "tokens", "concurrency")


class Unit(Struct, frozen=True):
    """One class of things that calls are counted in.

    name        stands in rows, prices, invoices and exports
    label       how people read it, in the plural
    counted     what is counted, and from which report
    stand_in    the class whose price counts where this one has none of its own; None: it costs nothing then
    priced_per  people type and read its price for this many
    decimals    it is kept in whole 10^-decimals and shown with so many digits: milliseconds as seconds have 3
    """

    name: str
    label: str
    counted: str
    stand_in: str | None = None
    priced_per: int = 1
    decimals: int = 0

    @property
    def is_token(self) -> bool:
        """Tell whether it is a token class, with columns of its own."""
        return self.name in TOKEN_CLASSES

    def shown(self, quantity: int) -> str:
        """Write a quantity as people read it."""
        return f"{Decimal(quantity).scaleb(-self.decimals):,.{self.decimals}f}"

    @property
    def per(self) -> str:
        """Say what its price is for, such as "million tokens" or "1,000 pages"."""
        if self.is_token:
            return "million tokens"
        return f"{self.shown(self.priced_per)} {self.label}"


def _tokens(name: str, label: str, counted: str, stand_in: str | None = None) -> Unit:
    return Unit(name, label, counted, stand_in, MILLION)


_TOKEN_UNITS = (
    _tokens("input_fresh", "input", "input tokens that no cache held"),
    _tokens("input_audio", "audio input", "input tokens of recordings", "input_fresh"),
    _tokens("cache_read", "input read from cache", "input tokens read from a cache", "input_fresh"),
    _tokens(
        "cache_write", "input written to cache", "input tokens written to a cache", "input_fresh"
    ),
    _tokens(
        "cache_write_long",
        "input written to cache for longer",
        "input tokens written to a cache for its longer time",
        "cache_write",
    ),
    _tokens("output_visible", "output", "output tokens of the answer"),
    _tokens("output_audio", "audio output", "output tokens of speech", "output_visible"),
    _tokens("output_reasoning", "reasoning", "output tokens of reasoning", "output_visible"),
)
# Every class there is, in the order in which they are billed and shown.
REGISTRY: dict[str, Unit] = {unit.name: unit for unit in _TOKEN_UNITS}


def register(unit: Unit) -> Unit:
    """Add an entry. Raises ValueError for one that could not be stored, priced or shown."""
    if not _NAME.match(unit.name) or unit.name in REGISTRY:
        raise ValueError(f"{unit.name!r} is not a new name of at most 16 letters, digits and _.")
    if unit.priced_per < 1 or unit.decimals < 0:
        raise ValueError(f"{unit.name!r}: priced_per is at least 1, decimals at least 0.")
    if unit.stand_in is not None and unit.stand_in not in {u.name for u in beside_tokens()}:
        raise ValueError(f"{unit.name!r}: stand_in is a unit registered before it, not tokens.")
    REGISTRY[unit.name] = unit
    return unit


def beside_tokens() -> tuple[Unit, ...]:
    """List the units without columns of their own."""
    return tuple(REGISTRY.values())[len(TOKEN_CLASSES) :]


def of(name: str) -> Unit:
    """Find a unit; one that a later version has written is shown by its name alone."""
    return REGISTRY.get(name) or Unit(name, name.replace("_", " "), "")


def place(name: str) -> tuple[int, str]:
    """Return the sort key of a class: the registry's order, then by name."""
    names = tuple(REGISTRY)
    return (names.index(name) if name in REGISTRY else len(names), name)


def choices() -> list[tuple[str, str]]:
    """List what a price can be of, for a form."""
    return [(name, name) for name in REGISTRY]


def quantities(counts: Mapping[str, int]) -> Quantities:
    """Check counts of units, and put them into the registry's order. Raises ValueError."""
    for name, quantity in counts.items():
        if name not in REGISTRY or name in TOKEN_CLASSES:
            raise ValueError(f"{name!r} is not a unit of the registry (tenants/units.py).")
        if not 0 <= quantity <= MOST_QUANTITY:
            raise ValueError(f"{name!r}: {quantity} is not between 0 and {MOST_QUANTITY}.")
    return in_order(counts)


def in_order(counts: Mapping[str, int]) -> Quantities:
    """Put counts into the registry's order: rounding depends on it, and neither JSON nor the database keep
    one."""
    return tuple((name, counts[name]) for name in sorted(counts, key=place))


def added(several: Iterable[Quantities]) -> Quantities:
    """Add quantities of several calls up, unit by unit."""
    total: dict[str, int] = {}
    for each in several:
        for name, quantity in each:
            total[name] = total.get(name, 0) + quantity
    return in_order(total)
