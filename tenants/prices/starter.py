"""Public list prices of the usual vendors, from a file: what a model of theirs costs from which day on.

The packaged file is made by tenants/prices/generate_starter.py; another of the same shape may be read
instead. Prices are pico-dollars per token, or per other unit, as everywhere.
"""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import msgspec
from msgspec import Struct

from tenants import units
from tenants.prices.rating import DEFAULT_TIER, Line, terms

PACKAGED = Path(__file__).with_name("starter.json")


class ListLine(Struct, frozen=True, array_like=True, omit_defaults=True):
    """`["input_fresh", 3000000]`, or with a service tier and the input above which it applies."""

    token_class: str
    pico_per_token: int
    service_tier: str = DEFAULT_TIER
    above_tokens: int = 0

    def line(self) -> Line:
        return Line(self.token_class, self.pico_per_token, self.service_tier, self.above_tokens)


class Dated(Struct, frozen=True, omit_defaults=True):
    """The prices from a day (UTC) on; without one, since ever."""

    lines: tuple[ListLine, ...]
    since: date | None = None


class ModelNames(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A condition on model names, in lower case: all that is given here must hold."""

    equals: str | None = None
    starts_with: str | None = None
    ends_with: str | None = None
    contains: str | None = None
    regex: str | None = None
    any_of: tuple[ModelNames, ...] = ()
    all_of: tuple[ModelNames, ...] = ()

    def fit(self, name: str) -> bool:
        return (
            (self.equals is None or name == self.equals)
            and name.startswith(self.starts_with or "")
            and name.endswith(self.ends_with or "")
            and (self.contains or "") in name
            and (self.regex is None or re.search(self.regex, name) is not None)
            and (not self.any_of or any(names.fit(name) for names in self.any_of))
            and all(names.fit(name) for names in self.all_of)
        )


class ListedModel(Struct, frozen=True, omit_defaults=True):
    """`prices`, the earliest first. `without`: what else the vendor charges for and no token class tells."""

    id: str
    names: ModelNames
    prices: tuple[Dated, ...]
    without: tuple[str, ...] = ()


class ListedVendor(Struct, frozen=True):
    """`url`: a regular expression for the beginning of its base URL."""

    url: str
    models: tuple[ListedModel, ...]

    def model(self, name: str) -> ListedModel | None:
        lowered = name.lower()
        exact = (m for m in self.models if m.id.lower() == lowered)
        return next(exact, None) or next((m for m in self.models if m.names.fit(lowered)), None)


class PriceList(Struct, frozen=True):
    """`source`: the package and its version; `list_date`: the day it was taken from it; `left_out`: how many
    prices of which kind are not in here because no line can say them."""

    source: str
    list_date: date
    left_out: dict[str, int]
    vendors: dict[str, ListedVendor]

    def vendor(self, label: str, base_url: str) -> ListedVendor | None:
        """Find the vendor by its address, and only then by its label: prices are those of the server that
        is asked.
        """
        for vendor in self.vendors.values():
            if re.match(vendor.url, base_url):
                return vendor
        return self.vendors.get(label)


def read(path: Path | None = None) -> PriceList:
    """Read the packaged list, or another. Raise OSError, or ValueError for anything that is not a price
    list.
    """
    return decode((path or PACKAGED).read_bytes())


def decode(content: bytes) -> PriceList:
    """Read a list from the bytes of its file. Raise ValueError for anything that is not a price list."""
    prices = msgspec.json.decode(content, type=PriceList)
    try:
        for vendor in prices.vendors.values():
            re.compile(vendor.url)
            for model in vendor.models:
                _check(model)
    except re.error as error:
        raise ValueError(f"{error.pattern!r} is not a regular expression: {error}.") from error
    return prices


def _check(model: ListedModel) -> None:
    """Raise ValueError unless calls can be rated by each of its prices."""
    _compile(model.names)
    for dated in model.prices:
        for line in dated.lines:
            is_price = min(line.pico_per_token, line.above_tokens) >= 0
            if line.token_class not in units.REGISTRY or not is_price:
                raise ValueError(f"{model.id}: {line.token_class!r} is not a class with a price.")
        terms(0, 0.0, [line.line() for line in dated.lines])


def _compile(names: ModelNames) -> None:
    if names.regex is not None:
        re.compile(names.regex)
    for each in (*names.any_of, *names.all_of):
        _compile(each)
