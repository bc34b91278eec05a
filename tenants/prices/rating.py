"""From tokens and other units to money. Pure: the same usage and terms always give the same amounts.

Prices are whole pico-dollars per token, or per unit of another class. A call's exact sum is rounded once,
half to even, to nano-dollars; the classes' shares are made to add up to it, so that sums over rows, over
classes and over both agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from tenants import units
from tenants.token_classes import INPUT_CLASSES, TOKEN_CLASSES, Quantities, Usage

DEFAULT_TIER = "default"
PICO_PER_NANO = 1000
_CLASSES = len(TOKEN_CLASSES)
_INPUTS = len(INPUT_CLASSES)


class Line(Struct, frozen=True):
    """A price line as in tenants/models/prices.py."""

    token_class: str
    pico_per_token: int
    service_tier: str = DEFAULT_TIER
    above_tokens: int = 0


class Step(Struct, frozen=True):
    """Prices for calls with more input than `above_tokens`: of the token classes in the order of
    TOKEN_CLASSES, and by name of the other units that have one."""

    above_tokens: int
    picos: tuple[int, ...]
    dearest_input: int
    dearest_output: int
    rates: Mapping[str, int]

    def exact(self, quantities: Quantities) -> int:
        """Return the pico-dollars of units beside tokens."""
        return sum(quantity * self.rates.get(name, 0) for name, quantity in quantities)


def step(above_tokens: int, picos: tuple[int, ...], rates: Mapping[str, int]) -> Step:
    return Step(above_tokens, picos, max(picos[:_INPUTS]), max(picos[_INPUTS:]), rates)


class Terms(Struct, frozen=True):
    """One published version, ready to rate by: per tier its steps, the highest threshold first."""

    version: int
    effective_from: float
    tiers: Mapping[str, tuple[Step, ...]]

    def step(self, tier: str, input_tokens: int) -> Step:
        """Return the prices of a call. A tier without prices of its own costs what the default one does."""
        steps = self.tiers.get(tier) or self.tiers[DEFAULT_TIER]
        for step in steps:
            if input_tokens > step.above_tokens:
                return step
        return steps[-1]

    def prices(self, quantities: Quantities) -> bool:
        """Tell whether each of these units has a price."""
        rates = self.step(DEFAULT_TIER, 0).rates
        return all(name in rates for name, _ in quantities)

    def bound(self, tier: str, input_tokens: int) -> Step:
        """Return prices that a call asking for a tier does not exceed, whichever of it and the default
        serves it.
        """
        asked = self.step(tier, input_tokens)
        if tier == DEFAULT_TIER:
            return asked
        usual = self.step(DEFAULT_TIER, input_tokens)
        return Step(
            asked.above_tokens,
            tuple(map(max, asked.picos, usual.picos)),
            max(asked.dearest_input, usual.dearest_input),
            max(asked.dearest_output, usual.dearest_output),
            {name: max(pico, usual.rates.get(name, 0)) for name, pico in asked.rates.items()},
        )

    def dearest_output(self, tier: str, input_tokens: int) -> int:
        """Return the highest price, in pico-dollars, of an output token of such a call."""
        return self.bound(tier, input_tokens).dearest_output


class Rated(Struct, frozen=True):
    """An amount in nano-dollars and its shares, which add up to it: of the token classes, and of the usage's
    other units in their order."""

    total: int
    by_class: tuple[int, ...]
    by_unit: tuple[int, ...] = ()

    def capped(self, most: int) -> Rated:
        """Cap the amount at `most`, reducing the shares in proportion."""
        return self if self.total <= most else _scaled(self.by_class + self.by_unit, most)

    def of_units(self, quantities: Quantities) -> tuple[int, ...]:
        """Return the shares of these units, which were rated; nothing each if there was no price."""
        return self.by_unit or (0,) * len(quantities)


NOTHING = Rated(0, (0,) * len(TOKEN_CLASSES))


def terms(version: int, effective_from: float, lines: Sequence[Line]) -> Terms:
    """Build terms. Raise ValueError if the default tier has no price of `input_fresh` and
    `output_visible`.
    """
    tiers: dict[str, dict[int, dict[str, int]]] = {}
    for line in lines:
        steps = tiers.setdefault(line.service_tier, {})
        steps.setdefault(line.above_tokens, {})[line.token_class] = line.pico_per_token
    default = tiers.get(DEFAULT_TIER, {}).get(0, {})
    for needed in ("input_fresh", "output_visible"):
        if needed not in default:
            raise ValueError(f"There is no price of {needed} in the tier {DEFAULT_TIER!r}.")
    base = tiers[DEFAULT_TIER]
    return Terms(
        version,
        effective_from,
        {tier: _steps(steps, base) for tier, steps in tiers.items()},
    )


def _steps(
    steps: Mapping[int, Mapping[str, int]], base: Mapping[int, Mapping[str, int]]
) -> tuple[Step, ...]:
    """Build steps: a threshold's prices rest on those of the thresholds below it, a tier's on the default
    tier's.
    """
    thresholds = sorted({0, *steps, *base})
    made = []
    for threshold in thresholds:
        known: dict[str, int] = {}
        for below in thresholds:
            if below <= threshold:
                known |= base.get(below, {})
        for below in thresholds:
            if below <= threshold:
                known |= steps.get(below, {})
        picos = tuple(_price(name, known) or 0 for name in TOKEN_CLASSES)
        made.append(step(threshold, picos, _rates(known)))
    return tuple(reversed(made))


def _rates(known: Mapping[str, int]) -> dict[str, int]:
    """Return the prices of units beside tokens that have one, also by their stand-in."""
    named = {name: pico for name, pico in known.items() if name not in TOKEN_CLASSES}
    for unit in units.beside_tokens():
        pico = _price(unit.name, known)
        if pico is not None:
            named[unit.name] = pico
    return named


def _price(name: str, known: Mapping[str, int]) -> int | None:
    """Return the price of a class, or of what stands in for it; None if that has none either."""
    while name not in known:
        stand_in = units.of(name).stand_in
        if stand_in is None:
            return None
        name = stand_in
    return known[name]


def rate(usage: Usage, tier: str, by: Terms) -> Rated:
    """Return the amount of this usage."""
    step = by.step(tier, usage.input_total)
    counts, picos = usage.counts, step.picos
    if usage.units:
        counts += tuple(quantity for _, quantity in usage.units)
        picos += tuple(step.rates.get(name, 0) for name, _ in usage.units)
    whole = 0
    shares = [0] * len(counts)
    rests: list[tuple[int, int]] = []
    for place, count in enumerate(counts):
        if count:
            exact = count * picos[place]
            whole += exact
            shares[place], rest = divmod(exact, PICO_PER_NANO)
            if rest:
                rests.append((-rest, place))
    total = whole // PICO_PER_NANO
    if rests:
        total = _half_even(whole)
        # What rounding left over goes to the largest rests.
        for _, number in sorted(rests)[: total - sum(shares)]:
            shares[number] += 1
    if usage.units:
        return _rated(total, shares)
    return Rated(total, tuple(shares))


def unstated_tier(usage: Usage, asked: str, *by: Terms | None) -> str:
    """Return the tier that prices a call whose upstream did not say what served it.

    It is the tier that was asked for, or the default one if that is dearer, by all its prices together.
    """
    if asked == DEFAULT_TIER:
        return asked
    known = [terms for terms in by if terms is not None]

    def total(tier: str) -> int:
        return sum(rate(usage, tier, terms).total for terms in known)

    return max((asked, DEFAULT_TIER), key=total)


def _half_even(pico: int) -> int:
    nano, rest = divmod(pico, PICO_PER_NANO)
    return nano + (rest * 2 > PICO_PER_NANO or (rest * 2 == PICO_PER_NANO and nano % 2))


def _scaled(parts: Sequence[int], total: int) -> Rated:
    """Scale parts to `total` in proportion: each gets its whole share, what remains goes to the largest
    rests.
    """
    whole = sum(parts)
    if whole == 0:
        return NOTHING
    shares, rests = [], []
    for number, part in enumerate(parts):
        share, rest = divmod(part * total, whole)
        shares.append(share)
        rests.append((-rest, number))
    for _, number in sorted(rests)[: total - sum(shares)]:
        shares[number] += 1
    return _rated(total, shares)


def _rated(total: int, shares: Sequence[int]) -> Rated:
    """Build an amount from its shares, those of token classes first."""
    return Rated(total, tuple(shares[:_CLASSES]), tuple(shares[_CLASSES:]))
