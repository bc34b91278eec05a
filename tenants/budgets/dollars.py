"""Amounts of budgets as people write them, in dollars, from and to whole nano-dollars."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

NANO_PER_DOLLAR = 10**9
MOST_DOLLARS = 10**9  # what 64 bits hold of nano-dollars, with room for sums


def nano(text: str) -> int:
    """`"25.00"` → 25000000000, exactly. Raises ValueError for what is no amount or too fine for one."""
    try:
        dollars = Decimal(text.strip())
    except InvalidOperation:
        raise ValueError(f"{text!r} is no amount; write dollars, like 25.00.") from None
    if not dollars.is_finite() or dollars.is_signed() or dollars > MOST_DOLLARS:
        raise ValueError(f"{text!r} is no budget: it is a number from 0 to {MOST_DOLLARS}.")
    if dollars != 0 and dollars.adjusted() < -9:
        raise ValueError(f"{text!r} is finer than a nano-dollar.")
    exact = dollars.scaleb(9)
    if exact != exact.to_integral_value():
        raise ValueError(f"{text!r} is finer than a nano-dollar.")
    return int(exact)


def shown(nano: int) -> str:
    """25000000000 → `"25.00"`: every digit that counts, and two at least."""
    sign, size = ("-" if nano < 0 else ""), abs(nano)
    whole, rest = divmod(size, NANO_PER_DOLLAR)
    return f"{sign}{whole}.{f'{rest:09d}'.rstrip('0').ljust(2, '0')}"
