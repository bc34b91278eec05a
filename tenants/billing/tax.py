"""Add tax to what an invoice's lines come to.

The one rule of rounding: tax is a whole number of basis points of the subtotal, rounded to cents half up,
once an invoice. A credit note takes back the difference between the tax of what was left before and of what
is left after it, so that the notes of an invoice take back its tax to the cent.
"""

from __future__ import annotations

import re

WHOLE = 10_000  # basis points
_PERCENT = re.compile(r"(\d{1,3})(?:\.(\d{1,2}))?\Z")


def tax_of(subtotal_cents: int, basis_points: int | None) -> int:
    """Return the tax in cents, half up whatever the sign; none where no tax is shown."""
    if basis_points is None:
        return 0
    return (subtotal_cents * basis_points + WHOLE // 2) // WHOLE


def percent(basis_points: int) -> str:
    """Format without needless digits, such as `19` or `7.7`."""
    whole, part = divmod(basis_points, 100)
    return f"{whole}.{part:02}".rstrip("0").rstrip(".") if part else str(whole)


def parsed_percent(text: str) -> int:
    """Parse `19` or `7.75` into basis points. Raise ValueError."""
    match = _PERCENT.match(text.strip().removesuffix("%").strip())
    if match is None:
        raise ValueError(f"{text!r} is not a percentage; write one such as 19 or 7.75.")
    whole, part = match.groups()
    return int(whole) * 100 + int((part or "").ljust(2, "0"))
