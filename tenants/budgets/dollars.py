"""Convert budget amounts between dollars, as people write them, and whole nano-dollars."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

NANO_PER_DOLLAR = 10**9
MOST_DOLLARS = 10**9  # what 64 bits hold of nano-dollars, with room for sums


def to_nano(text: str) -> int:
    """Convert `"25.00"` to 25000000000, exactly. Raise ValueError for anything that is not an amount, or
    too fine.
    """
    try:
        dollars = Decimal(text.strip())
    except InvalidOperation:
        raise ValueError(f"{text!r} is not an amount; write dollars, like 25.00.") from None
    if not dollars.is_finite() or dollars.is_signed() or dollars > MOST_DOLLARS:
        raise ValueError(f"{text!r} is not a budget; write a number from 0 to {MOST_DOLLARS}.")
    if dollars != 0 and dollars.adjusted() < -9:
        raise ValueError(f"{text!r} is finer than a nano-dollar.")
    exact = dollars.scaleb(9)
    if exact != exact.to_integral_value():
        raise ValueError(f"{text!r} is finer than a nano-dollar.")
    return int(exact)


def to_text(nano: int) -> str:
    """Format 25000000000 as `"25.00"`: every significant digit, and at least two decimals."""
    sign, size = ("-" if nano < 0 else ""), abs(nano)
    whole, rest = divmod(size, NANO_PER_DOLLAR)
    return f"{sign}{whole}.{f'{rest:09d}'.rstrip('0').ljust(2, '0')}"
