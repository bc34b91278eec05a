"""Parse how people name a call of the ledger, and the tokens it took."""

from __future__ import annotations

import re
from uuid import UUID

from tenants import units
from tenants.ledger.row_ids import row_id
from tenants.token_classes import TOKEN_CLASSES, Usage

_REQUEST = re.compile(r"req_[0-9a-f]{32}\Z")
_COUNT = re.compile(r"\d{1,12}\Z")


def row(text: str, leg: int = 0) -> UUID:
    """Parse a row's id, or a request's and the number of its leg. Raise ValueError."""
    if _REQUEST.match(text):
        return UUID(hex=row_id(text, leg))
    try:
        return UUID(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is neither a request's id (req_…) nor a row's (a UUID)."
        ) from None


def usage(text: str) -> Usage:
    """Parse usage such as input_fresh=120,output_visible=30. Raise ValueError."""
    counts: dict[str, int] = {}
    for word in filter(None, map(str.strip, text.split(","))):
        name, _, count = word.partition("=")
        if name not in units.REGISTRY or name in counts or not _COUNT.match(count):
            known = ", ".join(units.REGISTRY)
            raise ValueError(
                f"{word!r} is not a count of tokens; write class=number, once per {known}."
            )
        counts[name] = int(count)
    tokens = [counts.pop(name, 0) for name in TOKEN_CLASSES]
    return Usage.of(tokens, units=units.quantities(counts))
