"""Write the table of names for docs/observability.md: `python -m gateway_project.lib.metrics.reference`."""

from __future__ import annotations

import sys

from gateway_project.lib.metrics.names import COUNTED, DROPPED, FOUND, Family


def table() -> str:
    """Return the table in Markdown."""
    rows = ["| name | kind | labels | meaning |", "|---|---|---|---|"]
    rows += [_row(family) for family in (*COUNTED, DROPPED, *FOUND)]
    return "\n".join(rows) + "\n"


def _row(family: Family) -> str:
    labels = ", ".join(f"`{label}`" for label in family.all_labels) or "none"
    asked = f" With `{family.view}`." if family.view else ""
    return f"| `{family.name}` | {family.kind} | {labels} | {family.help}{asked} |"


if __name__ == "__main__":
    sys.stdout.write(table())
