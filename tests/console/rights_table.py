"""The table of rights as docs/security.md has it."""

from __future__ import annotations

import re
from pathlib import Path

RIGHTS = ("view", "add", "change", "delete")
TEXT = (Path(__file__).resolve().parents[2] / "docs" / "security.md").read_text()


def documented() -> dict[str, dict[str, set[str]]]:
    """Return the rights by role and area."""
    table = re.search(r"(?m)^\| area \|.*\n(?:\|.*\n)+", TEXT)
    assert table is not None
    head, _, *rows = [line.strip("|").split(" | ") for line in table[0].splitlines()]
    roles = [name.strip() for name in head[2:]]
    return {
        role: {row[0].strip(" `"): _rights(row[2 + place]) for row in rows}
        for place, role in enumerate(roles)
    }


def _rights(cell: str) -> set[str]:
    match cell.strip():
        case "all":
            return set(RIGHTS)
        case "\N{EN DASH}":
            return set()
        case listed:
            return set(listed.split(", "))
