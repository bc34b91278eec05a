"""Format figures for people: dollars, counts, durations, shares."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import template
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from tenants.billing.money import NANO_PER_CENT, NANO_PER_DOLLAR

register = template.Library()
MINUS, NOTHING = "\u2212", "\u2013"
EXACT_BELOW = 100_000
_STEPS = ((10**9, "B"), (10**6, "M"), (10**3, "k"))


@register.filter
def dollars(nano: int | None) -> str:
    """Format nano-dollars to the cent, and less than a dollar so that nothing small reads as 0."""
    if nano is None:
        return ""
    places = 2
    if nano % NANO_PER_CENT and abs(nano) < NANO_PER_DOLLAR:
        places = 4 if abs(nano) >= NANO_PER_DOLLAR // 10_000 else len(f"{abs(nano):09}".rstrip("0"))
    # Rounded here, because number_format cuts off. The sign stands before the currency, as people write it.
    amount = round(abs(nano) / NANO_PER_DOLLAR, places)
    shown = number_format(amount, places, force_grouping=True)
    return f"{MINUS if nano < 0 else ''}${shown}"


@register.simple_tag
def bar_cell(value: int, unit: str) -> SafeString:
    """Return a cell of a chart's table with what charts.js reads, in few bytes: there may be thousands."""
    if not value:
        return mark_safe("<td>0")  # a constant
    if unit != "nano":
        return format_html('<td data-value="{}">{}', value, count(value))
    return format_html('<td data-value="{}">{}', value / NANO_PER_DOLLAR, dollars(value))


@register.filter
def count(value: int | None) -> str:
    """Format a whole number with its thousands separated."""
    return "" if value is None else number_format(value, 0, force_grouping=True)


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
