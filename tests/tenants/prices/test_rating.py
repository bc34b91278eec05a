"""Rating: exact, rounded once, half to even, and its shares always add up."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tenants.prices.rating import NOTHING, Line, Terms, rate, terms, unstated_tier
from tenants.token_classes import TOKEN_CLASSES, Usage
from tests.plugins.cases import cases

MAX_TOKENS = 10_000_000
MAX_PICO = 10**9

usages = st.builds(
    Usage, **{name: st.integers(0, MAX_TOKENS) | st.integers(0, 3) for name in TOKEN_CLASSES}
)
OTHERS = [name for name in TOKEN_CLASSES if name not in {"input_fresh", "output_visible"}]
needed = st.fixed_dictionaries(
    {name: st.integers(0, MAX_PICO) for name in ("input_fresh", "output_visible")},
    optional={name: st.integers(0, MAX_PICO) for name in OTHERS},
)


def lines(prices: dict[str, int], tier: str = "default", above: int = 0) -> list[Line]:
    return [Line(name, pico, tier, above) for name, pico in prices.items()]


all_terms = st.builds(
    lambda base, above, flex: terms(
        1, 0.0, [*lines(base), *lines(above, above=1_000), *lines(flex, "flex")]
    ),
    needed,
    st.dictionaries(st.sampled_from(TOKEN_CLASSES), st.integers(0, MAX_PICO)),
    st.dictionaries(st.sampled_from(TOKEN_CLASSES), st.integers(0, MAX_PICO)),
)
tiers = st.sampled_from(["default", "flex", "unknown"])


def exact(usage: Usage, tier: str, by: Terms) -> Fraction:
    picos = by.step(tier, usage.input_total).picos
    return Fraction(sum(n * pico for n, pico in zip(usage.counts, picos, strict=True)), 1000)


@given(usages, tiers, all_terms)
def test_the_total_is_the_exact_sum_rounded_half_to_even(usage, tier, by) -> None:
    assert rate(usage, tier, by).total == round(exact(usage, tier, by))


@given(usages, tiers, all_terms)
def test_the_shares_add_up_and_are_near_their_own_sums(usage, tier, by) -> None:
    rated = rate(usage, tier, by)
    picos = by.step(tier, usage.input_total).picos
    assert sum(rated.by_class) == rated.total
    for share, count, pico in zip(rated.by_class, usage.counts, picos, strict=True):
        assert abs(share - Fraction(count * pico, 1000)) < 2
        assert share == 0 or count * pico > 0


@given(usages, tiers, all_terms, st.integers(0, 10**12))
def test_a_capped_amount_is_the_cap_or_less_and_its_shares_add_up(usage, tier, by, most) -> None:
    rated = rate(usage, tier, by)
    capped = rated.capped(most)
    assert capped.total == min(rated.total, most)
    assert sum(capped.by_class) == capped.total
    assert all(
        0 <= small <= big + 1 for small, big in zip(capped.by_class, rated.by_class, strict=True)
    )


@given(usages, needed, st.randoms(use_true_random=False))
def test_the_order_of_lines_does_not_matter(usage, prices, random) -> None:
    given_lines = [*lines(prices), *lines(prices, "flex", 500)]
    shuffled = list(given_lines)
    random.shuffle(shuffled)
    for tier in ("default", "flex"):
        one, other = terms(1, 0.0, given_lines), terms(1, 0.0, shuffled)
        assert rate(usage, tier, one) == rate(usage, tier, other)


@given(usages, tiers, all_terms)
def test_no_token_costs_more_than_the_dearest_of_its_side(usage, tier, by) -> None:
    most = usage.input_total * by.step(tier, usage.input_total).dearest_input
    most += usage.output_total * by.dearest_output(tier, usage.input_total)
    assert exact(usage, tier, by) * 1000 <= most


@cases(
    ("pico", "nano"), [(499, 0), (500, 0), (501, 1), (1_499, 1), (1_500, 2), (2_500, 2), (2_501, 3)]
)
def test_halves_go_to_the_even_nano_dollar(pico: int, nano: int) -> None:
    by = terms(1, 0.0, lines({"input_fresh": pico, "output_visible": 0}))
    assert rate(Usage(input_fresh=1), "default", by).total == nano


def test_nothing_used_or_nothing_asked_is_nothing() -> None:
    free = terms(1, 0.0, lines({"input_fresh": 0, "output_visible": 0}))
    assert rate(Usage(), "default", free) == NOTHING
    assert rate(Usage(input_fresh=5, output_audio=7), "default", free) == NOTHING


def test_a_class_without_a_price_costs_what_stands_in_for_it() -> None:
    by = terms(1, 0.0, lines({"input_fresh": 5, "output_visible": 9, "cache_write": 6}))
    assert by.step("default", 0).picos == (5, 5, 5, 6, 6, 9, 9, 9)


def test_a_threshold_counts_for_the_whole_call_once_its_input_exceeds_it() -> None:
    both = [
        *lines({"input_fresh": 1_000, "output_visible": 1_000}),
        *lines({"input_fresh": 2_000}, above=100),
    ]
    by = terms(1, 0.0, both)
    assert rate(Usage(input_fresh=60, cache_read=40, output_visible=1), "default", by).total == 101
    assert rate(Usage(input_fresh=61, cache_read=40, output_visible=1), "default", by).total == 203


def test_a_tier_rests_on_the_default_one_and_its_own_price_on_every_threshold_of_it() -> None:
    everything = [
        *lines({"input_fresh": 1, "output_visible": 2}),
        *lines({"input_fresh": 3}, above=100),
        *lines({"input_fresh": 7}, "priority"),
    ]
    by = terms(1, 0.0, everything)
    assert [by.step("priority", n).picos[0] for n in (0, 101)] == [7, 7]
    assert [by.step("other", n).picos[0] for n in (0, 101)] == [1, 3]
    assert by.step("priority", 0).picos[5] == 2


@given(usages, tiers, all_terms)
def test_a_tier_that_was_not_stated_is_the_dearer_and_within_the_bound(usage, asked, by) -> None:
    tier = unstated_tier(usage, asked, by)
    assert tier in {asked, "default"}
    amounts = [rate(usage, each, by).total for each in (asked, "default")]
    assert rate(usage, tier, by).total == max(amounts)
    bound = by.bound(asked, usage.input_total)
    for each in (asked, "default"):
        step = by.step(each, usage.input_total)
        assert step.dearest_input <= bound.dearest_input
        assert step.dearest_output <= bound.dearest_output


NAMES = ("clip_ms", "loud_ms", "pages")
# Counts of units that no registry knows: their prices are in the terms all the same.
units_used = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 10**9)).map(
    lambda counts: tuple(sorted(counts.items()))
)
unit_prices = st.fixed_dictionaries({name: st.integers(0, MAX_PICO) for name in NAMES})


@given(usages, units_used, needed, unit_prices, st.integers(0, 10**12))
def test_other_units_are_rounded_and_capped_together_with_tokens(
    usage, quantities, prices, of_units, most
) -> None:
    by = terms(1, 0.0, lines({**prices, **of_units}))
    used = structs.replace(usage, units=quantities)
    whole = exact(usage, "default", by) * 1000 + sum(n * of_units[name] for name, n in quantities)
    rated = rate(used, "default", by)
    assert rated.total == round(whole / 1000)
    for amount in (rated, rated.capped(most)):
        assert sum(amount.by_class) + sum(amount.of_units(quantities)) == amount.total
        assert len(amount.of_units(quantities)) == len(quantities)
    for share, (name, quantity) in zip(rated.of_units(quantities), quantities, strict=True):
        assert abs(share - Fraction(quantity * of_units[name], 1000)) < 2
    assert by.bound("flex", 0).exact(quantities) == by.step("default", 0).exact(quantities)


def test_units_have_tiers_and_thresholds_like_tokens() -> None:
    base = {"input_fresh": 1, "output_visible": 2}
    by = terms(
        1,
        0.0,
        [
            *lines({**base, "pages": 10}),
            *lines({"pages": 4}, "flex"),
            *lines({"pages": 25}, above=100),
        ],
    )
    three = (("pages", 3),)
    assert [by.step(tier, 0).exact(three) for tier in ("default", "flex")] == [30, 12]
    assert by.step("default", 101).exact(three) == 75
    assert by.bound("flex", 0).exact(three) == 30
    assert by.prices(three)
    assert not by.prices((("stamps", 0),))
