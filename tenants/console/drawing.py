"""Draw what tables of the console show beside text: amounts of money, instants, bars and spark lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from tenants.reports.budgets import BudgetState

NANO = 10**9
CENT = NANO // 100
SPARK_HEIGHT = 24
SPARK_STEP = 6


def money(nano: int) -> str:
    """Format nano-dollars for people: cents, and as many digits more as a small amount needs."""
    sign, size = ("-" if nano < 0 else ""), abs(nano)
    if size == 0 or size >= CENT:
        return f"{sign}${number_format(round(size / NANO, 2), 2, force_grouping=True)}"
    text = f"{size / NANO:.6f}".rstrip("0").rstrip(".")
    least = "<" if text == "0" else ""
    return f"{sign}{least}${number_format('0.000001' if least else text)}"


def instant(at: datetime, zone: ZoneInfo) -> str:
    """Format an instant to the second."""
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S}"


def day(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d}"


def budget_bar(of: BudgetState, thresholds: Sequence[int] = ()) -> SafeString:
    """Draw one bar of what is used and reserved, with a mark at each threshold."""
    used, held = of.percent(of.used_nano), of.percent(of.reserved_nano)
    label = _("%(used)s used, %(held)s reserved, %(left)s left of %(amount)s") % {
        "used": money(of.used_nano),
        "held": money(of.reserved_nano),
        "left": money(max(of.left_nano, 0)),
        "amount": money(of.amount_nano),
    }
    kind = "tg-bar__over" if of.left_nano <= 0 else "tg-bar__used"
    marks = format_html_join(
        "",
        '<i class="tg-gauge__mark" style="left:{}%"></i>',
        ((each,) for each in thresholds if 0 < each < 100),
    )
    return format_html(
        '<span class="tg-gauge" role="img" aria-label="{}" title="{}"><span class="tg-bar">'
        '<span class="{}" style="width:{}%"></span><span class="tg-bar__held" style="width:{}%"></span>'
        "</span>{}</span>",
        *(label, label, kind, f"{used:.1f}", f"{min(held, 100 - used):.1f}", marks),
    )


def spark(values: Sequence[int], label: str, titles: Sequence[str] = ()) -> SafeString:
    """Draw a row of small columns, the highest at full height."""
    most = max(values, default=0)
    columns = []
    for number, value in enumerate(values):
        height = max(round(SPARK_HEIGHT * value / most), 1) if value > 0 else 0
        title = titles[number] if number < len(titles) else ""
        columns.append((number * SPARK_STEP, SPARK_HEIGHT - height, SPARK_STEP - 2, height, title))
    drawn = format_html_join(
        "", '<rect x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>', columns
    )
    return format_html(
        '<svg class="tg-spark" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">'
        '<path d="M0 {}H{}"/>{}</svg>',
        *(SPARK_STEP * len(values), SPARK_HEIGHT + 1, SPARK_STEP * len(values), SPARK_HEIGHT + 1),
        *(label, SPARK_HEIGHT + 0.5, SPARK_STEP * len(values), drawn),
    )
