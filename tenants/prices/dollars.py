"""Prices as people say them, in dollars per so many units, from and to whole pico-dollars per unit."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction

from tenants.units import MILLION

PICO_PER_DOLLAR = 10**12
# More than any price per million tokens, and little enough for every sum of a call to fit 64 bits in
# nano-dollars.
MOST_DOLLARS = 10**7
MOST_PICO = MOST_DOLLARS * PICO_PER_DOLLAR // MILLION
# The same of another unit, of which a call has fewer: a thousand dollars each.
MOST_PICO_OF_A_UNIT = 1_000 * PICO_PER_DOLLAR


def pico(text: str) -> int:
    """`"3.00"` per million tokens → 3000000, exactly. Raises ValueError for what is not a price, or too fine
    for one."""
    return whole_pico(_dollars(text, "per million tokens, like 3.00"))


def pico_of_unit(text: str, per: int) -> int:
    """Convert the price of a unit that is quoted for `per` of it."""
    dollars = _dollars(text, "like 0.04")
    if dollars > MOST_PICO_OF_A_UNIT * per // PICO_PER_DOLLAR:
        raise ValueError(f"{dollars} is more than any price of such a unit.")
    exact = _exact(dollars) / per
    if exact.denominator != 1:
        raise ValueError(f"{dollars} is not a whole number of pico-dollars per unit.")
    return exact.numerator


def whole_pico(dollars: Decimal) -> int:
    """Convert a number likewise. Raise ValueError if it is not a whole number of pico-dollars."""
    if dollars > MOST_DOLLARS:
        raise ValueError(f"{dollars} is more than any price per million tokens.")
    exact = _exact(dollars) / MILLION
    if exact.denominator != 1:
        raise ValueError(f"{dollars} is finer than a millionth of a dollar per million tokens.")
    return exact.numerator


def per_million(pico: int) -> str:
    """Format 3000000 as `"3.00"`: every significant digit, and at least two decimals."""
    return said(pico, MILLION)


def said(pico: int, per: int) -> str:
    """Format the price of one unit as it is quoted for `per` of it."""
    whole, rest = divmod(pico * per, PICO_PER_DOLLAR)
    digits = f"{rest:012d}".rstrip("0").ljust(2, "0")
    return f"{whole}.{digits}"


def _dollars(text: str, example: str) -> Decimal:
    try:
        dollars = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not an amount; write dollars {example}.") from None
    if not dollars.is_finite() or dollars.is_signed():
        raise ValueError(f"{text!r} is not a price; write a number of 0 or more.")
    return dollars


def _exact(dollars: Decimal) -> Fraction:
    """Return whole pico-dollars.

    A Decimal's product is rounded to 28 digits, a Fraction's never. A number so tiny that its Fraction
    would be enormous is not a whole number of anything.
    """
    if dollars != 0 and dollars.adjusted() < -12:
        return Fraction(1, 10**30)
    return Fraction(dollars) * PICO_PER_DOLLAR
