"""Format figures for people: dollars, counts, durations, shares."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from django import template
from django.utils.formats import get_format, number_format
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from tenants.billing.money import NANO_PER_CENT, NANO_PER_DOLLAR
from tenants.reports.charts import Bar, Chart

register = template.Library()
MINUS, NOTHING = "\u2212", "\u2013"
EXACT_BELOW = 100_000
Marks = dict[int, str]
_STEPS = ((10**9, "B"), (10**6, "M"), (10**3, "k"))


@register.filter
def dollars(nano: int | None) -> str:
    """Format nano-dollars to the cent, and less than a dollar so that nothing small reads as 0."""
    return "" if nano is None else _dollars(nano, _marks())


def _dollars(nano: int, marks: Marks) -> str:
    places = 2
    if nano % NANO_PER_CENT and abs(nano) < NANO_PER_DOLLAR:
        places = 4 if abs(nano) >= NANO_PER_DOLLAR // 10_000 else len(f"{abs(nano):09}".rstrip("0"))
    # The sign stands before the currency, as people write it.
    shown = _grouped(abs(nano) / NANO_PER_DOLLAR, places, marks)
    return f"{MINUS if nano < 0 else ''}${shown}"


def _grouped(number: float, places: int, marks: Marks) -> str:
    """Round a number and write it with a language's marks. A page has thousands of them, each of which takes
    number_format many times as long.
    """
    return f"{number:,.{places}f}".translate(marks)


def _marks() -> Marks:
    """Return what stands for a comma and a point in the language of the page."""
    return _marks_of(get_language())


@lru_cache(maxsize=16)
def _marks_of(language: str | None) -> Marks:
    names = {",": "THOUSAND_SEPARATOR", ".": "DECIMAL_SEPARATOR"}
    return str.maketrans({mark: str(get_format(name, language)) for mark, name in names.items()})


@register.simple_tag
def bar_rows(chart: Chart, base: str) -> SafeString:
    """Return the rows of a chart's table with what charts.js reads, in few bytes: there may be thousands of
    cells, which a template would take most of the page's time for. `base` is the address its bars lead to.
    """
    marks = _marks()
    rows = (_bar_row(bar, chart.unit, base, marks) for bar in chart.bars)
    return mark_safe("".join(rows))  # noqa: S308  # escaped


def _bar_row(bar: Bar, unit: str, base: str, marks: Marks) -> str:
    link = f' data-href="{escape(base + bar.query)}"' if base else ""
    cells = "".join(_bar_cell(value, unit, marks) for value in bar.values)
    return f'<tr{link}><th scope="row">{escape(bar.label)}</th>{cells}</tr>'


def _bar_cell(value: int, unit: str, marks: Marks) -> str:
    if not value:
        return "<td>0"
    if unit != "nano":
        return f'<td data-value="{value}">{_grouped(value, 0, marks)}'
    return f'<td data-value="{value / NANO_PER_DOLLAR}">{_dollars(value, marks)}'


@register.filter
def count(value: int | None) -> str:
    """Format a whole number with its thousands separated."""
    return "" if value is None else _grouped(value, 0, _marks())


@register.filter
def short(value: int | None) -> str:
    """Format a large number in three digits, such as 1.23 M; smaller ones whole."""
    if value is None:
        return ""
    for step, letter in _STEPS:
        if abs(value) >= max(step, EXACT_BELOW):
            whole = value / step
            places = 2 if abs(whole) < 10 else 1 if abs(whole) < 100 else 0
            return f"{number_format(whole, places)} {letter}"
    return count(value)


@register.filter
def milliseconds(value: int | None) -> str:
    """Format a duration that is about right, such as ≈ 1.2 s."""
    if value is None:
        return NOTHING
    if value < 1_000:
        return f"≈ {value} ms"
    return f"≈ {number_format(value / 1_000, 1)} s"


@register.filter
def percent(value: float | None) -> str:
    """Format a share with one decimal, and a share of next to nothing as that."""
    if value is None:
        return NOTHING
    if 0 < value < 0.05:
        return f"< {number_format(0.1, 1)} %"
    return f"{number_format(value, 1)} %"


@register.filter
def share(part: int, whole: int) -> str:
    """Format a part of a whole in per cent."""
    return percent(100 * part / whole) if whole else NOTHING


@register.filter
def change(now: float | None, before: float | None) -> str:
    """Say how much more or less something is than it was, in whole per cent."""
    if not before or now is None:
        return _("nothing before")
    part = round(100 * (now - before) / abs(before))
    if part > 999:
        return _("more than ten times as much as before")
    if not part:
        return _("as before")
    words = _("%(part)s %% more than before") if part > 0 else _("%(part)s %% less than before")
    return words % {"part": abs(part)}


@register.filter
def in_zone(at: datetime | None, zone: Any) -> str:
    """Format an instant to the second by the clock of a time zone."""
    if at is None:
        return ""
    local = at.astimezone(zone if isinstance(zone, ZoneInfo) else ZoneInfo(str(zone)))
    return f"{local:%Y-%m-%d %H:%M:%S}"
