"""Round nano-dollars to cents, and format amounts of money."""

from __future__ import annotations

import re

NANO_PER_CENT = 10_000_000
NANO_PER_DOLLAR = 1_000_000_000
_DOLLARS = re.compile(r"(-?)\$?(\d{1,12})(?:\.(\d{1,2}))?\Z")


def cents(nano: int) -> int:
    """Round to cents, half up, whatever the sign."""
    return (nano + NANO_PER_CENT // 2) // NANO_PER_CENT


def dollars(amount_cents: int) -> str:
    sign = "-" if amount_cents < 0 else ""
    return f"{sign}{abs(amount_cents) // 100}.{abs(amount_cents) % 100:02}"


def exact_dollars(nano: int) -> str:
    """Format with all nine decimals."""
    sign = "-" if nano < 0 else ""
    return f"{sign}{abs(nano) // NANO_PER_DOLLAR}.{abs(nano) % NANO_PER_DOLLAR:09}"


def parsed_cents(text: str) -> int:
    """Parse `12.50`. Raise ValueError."""
    match = _DOLLARS.match(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not an amount; write dollars and cents, such as 12.50.")
    sign, whole, part = match.groups()
    amount = int(whole) * 100 + int((part or "").ljust(2, "0"))
    return -amount if sign else amount
