"""From tokens to money. Pure: the same usage and terms give the same amounts, whenever they are rated.

Prices are whole pico-dollars per token. A call's exact sum is rounded once, half to even, to nano-dollars;
the classes' shares are made to add up to it, so that sums over rows, over classes and over both agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from tenants.token_classes import INPUT_CLASSES, TOKEN_CLASSES, Usage

DEFAULT_TIER = "default"
PICO_PER_NANO = 1000
# Which class's price stands in for one without its own.
_STAND_IN = {
    "input_audio": "input_fresh",
    "cache_read": "input_fresh",
    "cache_write": "input_fresh",
    "cache_write_long": "cache_write",
    "output_audio": "output_visible",
    "output_reasoning": "output_visible",
}
_INPUTS = len(INPUT_CLASSES)


class Line(Struct, frozen=True):
    """As in tenants/models/prices.py."""

    token_class: str
    pico_per_token: int
    service_tier: str = DEFAULT_TIER
    above_tokens: int = 0


class Step(Struct, frozen=True):
    """Prices of all classes, in the order of TOKEN_CLASSES, for calls with more input than `above_tokens`."""

    above_tokens: int
    picos: tuple[int, ...]
    dearest_input: int
    dearest_output: int


def step(above_tokens: int, picos: tuple[int, ...]) -> Step:
    return Step(above_tokens, picos, max(picos[:_INPUTS]), max(picos[_INPUTS:]))


class Terms(Struct, frozen=True):
    """One published version, ready to rate by: per tier its steps, the highest threshold first."""

    version: int
    effective_from: float
    tiers: Mapping[str, tuple[Step, ...]]

    def step(self, tier: str, input_tokens: int) -> Step:
        """The prices of a call. A tier without prices of its own costs what the default one does."""
        steps = self.tiers.get(tier) or self.tiers[DEFAULT_TIER]
        for step in steps:
            if input_tokens > step.above_tokens:
                return step
        return steps[-1]

    def bound(self, tier: str, input_tokens: int) -> Step:
        """Prices that a call which asks for a tier does not exceed, whichever of it and the default one
        serves it."""
        asked = self.step(tier, input_tokens)
        if tier == DEFAULT_TIER:
            return asked
        usual = self.step(DEFAULT_TIER, input_tokens)
        return Step(
            asked.above_tokens,
            tuple(map(max, asked.picos, usual.picos)),
            max(asked.dearest_input, usual.dearest_input),
            max(asked.dearest_output, usual.dearest_output),
        )

    def dearest_output(self, tier: str, input_tokens: int) -> int:
        """Pico-dollars that no output token of such a call costs more than."""
        return self.bound(tier, input_tokens).dearest_output


class Rated(Struct, frozen=True):
    """An amount in nano-dollars and its classes' shares, which add up to it."""

    total: int
    by_class: tuple[int, ...]

    def capped(self, most: int) -> Rated:
        """No more than `most`, the shares made smaller in proportion."""
        return self if self.total <= most else _scaled(self.by_class, most)


NOTHING = Rated(0, (0,) * len(TOKEN_CLASSES))


def terms(version: int, effective_from: float, lines: Sequence[Line]) -> Terms:
    """Raises ValueError where the default tier has no price of `input_fresh` and `output_visible`."""
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
    """A threshold's prices rest on those of the thresholds below it, a tier's on the default tier's."""
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
        made.append(step(threshold, tuple(_price(name, known) for name in TOKEN_CLASSES)))
    return tuple(reversed(made))


def _price(token_class: str, known: Mapping[str, int]) -> int:
    while token_class not in known:
        token_class = _STAND_IN[token_class]
    return known[token_class]


def rate(usage: Usage, tier: str, by: Terms) -> Rated:
    """What this usage amounts to."""
    whole = 0
    shares: list[int] = []
    rests: list[tuple[int, int]] = []
    for count, pico in zip(usage.counts, by.step(tier, usage.input_total).picos, strict=True):
        share = 0
        if count:
            exact = count * pico
            whole += exact
            share, rest = divmod(exact, PICO_PER_NANO)
            if rest:
                rests.append((-rest, len(shares)))
        shares.append(share)
    if not rests:
        return Rated(whole // PICO_PER_NANO, tuple(shares))
    total = _half_even(whole)
    # What rounding left over goes to the largest rests.
    for _, number in sorted(rests)[: total - sum(shares)]:
        shares[number] += 1
    return Rated(total, tuple(shares))


def unstated_tier(usage: Usage, asked: str, *by: Terms | None) -> str:
    """The tier that prices a call of which its upstream did not say what served it: the one it was asked for,
    or the default one where that is dearer, by all its prices together."""
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
    """`total` in the proportion of `parts`: each its whole share, what is left over to the largest rests."""
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
    return Rated(total, tuple(shares))
