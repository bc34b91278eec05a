"""Prices as people say them, in dollars per million tokens, from and to whole pico-dollars per token."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction

PICO_PER_DOLLAR_OF_A_MILLION = 10**6
# More than any price, and little enough for every sum of a call to fit 64 bits in nano-dollars.
MOST_DOLLARS = 10**7
MOST_PICO = MOST_DOLLARS * PICO_PER_DOLLAR_OF_A_MILLION


def pico(text: str) -> int:
    """`"3.00"` → 3000000, exactly. Raises ValueError for what is no price or too fine for one."""
    try:
        dollars = Decimal(text)
    except InvalidOperation:
        raise ValueError(
            f"{text!r} is no amount; write dollars per million tokens, like 3.00."
        ) from None
    if not dollars.is_finite() or dollars.is_signed():
        raise ValueError(f"{text!r} is no price: it is a number from 0 on.")
    return whole_pico(dollars)


def whole_pico(dollars: Decimal) -> int:
    """The same of a number. Raises ValueError where it is no whole number of pico-dollars."""
    if dollars > MOST_DOLLARS:
        raise ValueError(f"{dollars} is more than any price per million tokens.")
    # A Decimal's product is rounded to 28 digits, a Fraction's never.
    is_tiny = dollars != 0 and dollars.adjusted() < -6
    exact = Fraction(0 if is_tiny else dollars) * PICO_PER_DOLLAR_OF_A_MILLION
    if is_tiny or exact.denominator != 1:
        raise ValueError(f"{dollars} is finer than a millionth of a dollar per million tokens.")
    return exact.numerator


def per_million(pico: int) -> str:
    """3000000 → `"3.00"`: every digit that counts, and two at least."""
    whole, rest = divmod(pico, PICO_PER_DOLLAR_OF_A_MILLION)
    digits = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{whole}.{digits}"
