"""The packaged price list, and how people write prices."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.vendors import VENDORS
from tenants.prices import dollars, starter
from tests.plugins.cases import cases

# What a list cannot say (docs/money.md) or does not have; everything else a fresh install needs a price of.
WITHOUT_PRICE = {
    "openrouter/auto",
    "deepseek-flash",
    "deepseek-v4-pro",
    "openai/gpt-oss-20b of together",
}


@pytest.fixture(scope="module")
def prices() -> starter.PriceList:
    return starter.read()


def test_the_list_says_where_and_when_it_is_from(prices: starter.PriceList) -> None:
    assert prices.source.startswith("genai-prices ")
    assert prices.list_date > date(2026, 1, 1)
    assert "price by the time of day" in prices.left_out


def test_the_models_a_fresh_install_knows_have_prices_but_for_those_written_down(
    prices: starter.PriceList,
) -> None:
    missing = set()
    for vendor in VENDORS:
        listed = prices.vendor(vendor.name, vendor.base_url)
        assert listed is not None
        missing |= {
            f"{model.id} of {vendor.name}" if vendor.name == "together" else model.id
            for model in vendor.models
            if listed.model(model.id) is None
        }
    assert missing == WITHOUT_PRICE


def test_thresholds_tiers_and_cache_lifetimes_are_lines(prices: starter.PriceList) -> None:
    openai, anthropic = prices.vendors["openai"], prices.vendors["anthropic"]
    gpt = openai.model("gpt-5.5-2026-04-23")
    claude = anthropic.model("claude-sonnet-5")
    assert gpt is not None
    assert claude is not None
    lines = {
        (line.token_class, line.service_tier, line.above_tokens): line.pico_per_token
        for line in gpt.prices[-1].lines
    }
    assert lines["input_fresh", "default", 0] == 5_000_000
    assert lines["input_fresh", "default", 272_000] == 10_000_000
    assert lines["input_fresh", "flex", 0] == 2_500_000
    assert {line.token_class: line.pico_per_token for line in claude.prices[-1].lines} == {
        "input_fresh": 2_000_000,
        "cache_read": 200_000,
        "cache_write": 2_500_000,
        "cache_write_long": 4_000_000,
        "output_visible": 10_000_000,
    }


def test_a_vendor_is_known_by_where_it_lies_before_its_label(prices: starter.PriceList) -> None:
    assert prices.vendor("groq", "https://api.openai.com/v1") is prices.vendors["openai"]
    assert prices.vendor("groq", "https://proxy.example/v1") is prices.vendors["groq"]
    assert prices.vendor("", "https://proxy.example/v1") is None


@cases(
    "lines",
    [
        [["input_fresh", 5]],
        [["input_fresh", 5], ["output", 5]],
        [["input_fresh", -5], ["output_visible", 5]],
        [["input_fresh", 0.5], ["output_visible", 5]],
    ],
)
def test_a_list_that_calls_cannot_be_rated_by_is_refused(tmp_path: Path, lines: list) -> None:
    model = {"id": "m", "names": {"equals": "m"}, "prices": [{"lines": lines}]}
    vendors = {"v": {"url": "https://v", "models": [model]}}
    path = tmp_path / "list.json"
    path.write_text(
        json.dumps({"source": "s", "list_date": "2026-01-01", "left_out": {}, "vendors": vendors})
    )
    with pytest.raises(ValueError, match=r"price|Expected"):
        starter.read(path)


@cases(
    ("text", "pico"),
    [("3", 3_000_000), ("3.00", 3_000_000), ("0.0375", 37_500), ("0.000001", 1), ("0", 0)],
)
def test_dollars_per_million_tokens_become_pico_dollars_exactly(text: str, pico: int) -> None:
    assert dollars.pico(text) == pico


@cases(
    "text",
    [
        "",
        "x",
        "-1",
        "-0",
        "NaN",
        "inf",
        "0.0000001",
        "1e9",
        "1e999999",
        "1e-999999",
        "1.00000000000000000000000000000001",
    ],
)
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"amount|price|finer"):
        dollars.pico(text)


@given(st.integers(0, dollars.MOST_PICO))
def test_every_price_can_be_written_and_read_back(pico: int) -> None:
    assert dollars.pico(dollars.per_million(pico)) == pico
