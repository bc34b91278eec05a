"""Draw the rows of lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django import template
from django.utils.safestring import SafeString, mark_safe

register = template.Library()
LABEL = ' data-label="'


@register.simple_tag
def list_rows(cl: Any, headers: Sequence[Mapping[str, Any]]) -> SafeString:
    """Return the rows of a list."""
    # Tags are collected while the theme is being imported, so it cannot be before.
    from tenants.console.list_rows import rows_of  # noqa: PLC0415

    # A list that is edited in place has fields in its cells, which the theme draws.
    rows = _edited(cl) if cl.formset else ((cells, "") for cells in rows_of(cl, headers))
    parts = [
        f'<tbody>\n{before}<tr class="data-row tg-row">{cells}</tr></tbody>\n'
        for cells, before in rows
    ]
    return mark_safe("".join(parts))  # noqa: S308  # cells are escaped where they are written


def _edited(cl: Any) -> Iterator[tuple[str, str]]:
    """Yield the theme's cells of each row, and a row of its errors before them."""
    from tenants.theme import results_of  # noqa: PLC0415  # as above

    for row in results_of(cl):
        errors = row.form.non_field_errors()
        told = f'<tr><td class="text-left" colspan="{len(row)}">{errors}</td></tr>\n'
        yield "".join(f"{lean(cell)}\n" for cell in row), told if errors else ""


def lean(cell: str) -> str:
    """Return a cell with classes of ours, of which the theme repeats thirty in each, and with its label,
    which telephones show, beginning with a capital. Both stand in the cell's tag, before all that people
    have written.
    """
    from tenants.theme import CELL_CLASSES, CHECKBOX_CLASSES  # noqa: PLC0415  # as above

    shorter = cell.replace(CELL_CLASSES, "tg-cell", 1).replace(
        CHECKBOX_CLASSES, "action-checkbox tg-cell", 1
    )
    tag, label, rest = shorter.partition(LABEL)
    return f"{tag}{label}{rest[:1].upper()}{rest[1:]}"
