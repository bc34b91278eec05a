"""Turn values into text of a page as Django's templates do, without a template."""

from __future__ import annotations

from html import escape
from typing import Any


def shown(value: Any) -> str:
    """Return a value as a page shows it: escaped, unless it is HTML already."""
    if hasattr(value, "__html__"):
        html: str = value.__html__()
        return html
    return escape(str(value))
