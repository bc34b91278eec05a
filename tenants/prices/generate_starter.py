"""Make starter.json from the package genai-prices: `python -m tenants.prices.generate_starter`.

A tool for people who work on Tollgate; neither the gateway nor its tests need the package. Left out, and
counted in the file: prices that depend on the time of day, on batch processing or on anything but the
service tier, and models that are not priced by input and output token.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import msgspec

from gateway_project.lib import clock
from tenants.prices.dollars import whole_pico
from tenants.prices.rating import DEFAULT_TIER
from tenants.prices.starter import (
    PACKAGED,
    Dated,
    ListedModel,
    ListedVendor,
    ListLine,
    ModelNames,
    PriceList,
)

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

PACKAGE = "genai-prices"
# The package's names for vendors → ours.
VENDORS = {
    "anthropic": "anthropic",
    "azure": "azure",
    "cerebras": "cerebras",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "google": "gemini",
    "groq": "groq",
    "minimax": "minimax",
    "mistral": "mistral",
    "moonshotai": "moonshot",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "together": "together",
    "x-ai": "xai",
    "zai": "zai",
}
CLASSES = {
    "input_mtok": "input_fresh",
    "input_audio_mtok": "input_audio",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_long",
    "output_mtok": "output_visible",
    "output_audio_mtok": "output_audio",
    "output_reasoning_mtok": "output_reasoning",
}
NEEDED = {"input_mtok", "output_mtok"}


class LeftOut(Exception):
    """A price has no place in the list; the message says why."""


def main() -> None:
    prices = price_list(clock.now().date())
    PACKAGED.write_bytes(_formatted(prices))


def price_list(today: date) -> PriceList:
    from genai_prices.data import providers  # noqa: PLC0415  # not there when the gateway runs

    left_out: Counter[str] = Counter()
    vendors = {}
    for provider in providers:
        if (name := VENDORS.get(provider.id)) is not None:
            models = tuple(_models(provider.models, today, left_out))
            vendors[name] = ListedVendor(provider.api_pattern, models)
    source = f"{PACKAGE} {version(PACKAGE)}"
    return PriceList(source, today, dict(sorted(left_out.items())), vendors)


def _models(models: list[ModelInfo], today: date, left_out: Counter[str]) -> Iterator[ListedModel]:
    for model in models:
        try:
            yield _model(model, today, left_out)
        except LeftOut as reason:
            left_out[str(reason)] += 1


def _model(model: ModelInfo, today: date, left_out: Counter[str]) -> ListedModel:
    dated = _dated(model)
    tiers = tuple(_tiers(model, today, left_out))
    prices = tuple(Dated((*_lines(price), *tiers), since) for since, price in dated)
    unsaid = {key for _, price in dated for key in _keys(price)} - CLASSES.keys()
    return ListedModel(model.id, _names(model.match), prices, tuple(sorted(unsaid)))


def _dated(model: ModelInfo) -> list[tuple[date | None, ModelPrice]]:
    from genai_prices.types import ModelPrice, StartDateConstraint  # noqa: PLC0415

    if isinstance(model.prices, ModelPrice):
        found: list[tuple[date | None, ModelPrice]] = [(None, model.prices)]
    else:
        found = []
        for conditional in model.prices:
            constraint = conditional.constraint
            if constraint is not None and not isinstance(constraint, StartDateConstraint):
                raise LeftOut("price by the time of day")
            found.append((constraint.start_date if constraint else None, conditional.prices))
    if not found or any(NEEDED - _keys(price) for _, price in found):
        raise LeftOut("no price per input and output token")
    return sorted(found, key=lambda entry: entry[0] or date.min)


def _tiers(model: ModelInfo, today: date, left_out: Counter[str]) -> Iterator[ListLine]:
    """Return the lines of service tiers, as they are today. Of several that apply, the package takes the
    first.
    """
    from genai_prices.types import StartDateConstraint  # noqa: PLC0415

    done = {DEFAULT_TIER}
    for variant in model.price_variants or ():
        constraint, tier = variant.constraint, variant.when.get("service_tier")
        if tier is None or len(variant.when) > 1:
            left_out[f"price by {' and '.join(sorted(variant.when))}"] += 1
        elif constraint is not None and not (
            isinstance(constraint, StartDateConstraint) and constraint.start_date <= today
        ):
            left_out["price of a service tier from a later day on"] += 1
        elif tier not in done:
            done.add(tier)
            yield from _lines(variant.prices, tier)


def _lines(price: ModelPrice, tier: str = DEFAULT_TIER) -> Iterator[ListLine]:
    from genai_prices.types import TieredPrices  # noqa: PLC0415

    for key, token_class in CLASSES.items():
        value = price.__dict__.get(key)
        if value is None:
            continue
        if not isinstance(value, TieredPrices):
            yield ListLine(token_class, _pico(value), tier)
            continue
        yield ListLine(token_class, _pico(value.base), tier)
        for step in value.tiers:
            yield ListLine(token_class, _pico(step.price), tier, step.start)


def _keys(price: ModelPrice) -> set[str]:
    return {key for key, value in price.__dict__.items() if value is not None}


def _pico(dollars: Decimal) -> int:
    if dollars.is_signed():  # how OpenRouter says that it depends
        raise LeftOut("no fixed price")
    try:
        return whole_pico(dollars)
    except ValueError:
        raise LeftOut("no whole number of pico-dollars") from None


def _names(match: Any) -> ModelNames:
    for field in ("equals", "starts_with", "ends_with", "contains"):
        if hasattr(match, field):
            return ModelNames(**{field: getattr(match, field).lower()})
    if hasattr(match, "regex"):
        return ModelNames(regex=match.regex)
    if hasattr(match, "or_"):
        return ModelNames(any_of=tuple(map(_names, match.or_)))
    return ModelNames(all_of=tuple(map(_names, match.and_)))


def _formatted(prices: PriceList) -> bytes:
    """Format with a line per model, so that two lists can be compared."""
    text = msgspec.json.encode(prices).replace(b'{"id":', b'\n{"id":')
    return text + b"\n"


if __name__ == "__main__":
    main()
