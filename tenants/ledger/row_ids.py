"""Build the key of a ledger row: a request's UUIDv7, with the number of the leg in its lowest 16 bits.

58 random bits stay beside the millisecond, and all legs of a request lie next to each other, in the order
in which requests came.
"""

from __future__ import annotations

from uuid import UUID

MAX_LEG = 0xFFFF
# A request has fewer legs than this; what lies above are their corrections, one step each.
STEP = 0x1000
_PREFIX = "req_"


def row_id(request_id: str, leg: int) -> str:
    """Return 32 hex digits. `request_id` was made by `ids.request_id`. Raise ValueError for a bad leg."""
    if not 0 <= leg <= MAX_LEG:
        raise ValueError(f"{leg} is not the number of a leg.")
    return f"{request_id[len(_PREFIX) : -4]}{leg:04x}"


def request_id_of(row: UUID) -> str:
    """Return the request that this row is a leg of."""
    return f"{_PREFIX}{row.hex[:-4]}0000"


def leg_of(row: UUID) -> int:
    return row.int & MAX_LEG


def rows_of(request_id: str) -> tuple[UUID, UUID]:
    """Return the first and the last row a request can have. Raise ValueError for a malformed request id."""
    first = UUID(hex=request_id.removeprefix(_PREFIX))
    return UUID(int=first.int & ~MAX_LEG), UUID(int=first.int | MAX_LEG)
