"""Write health, tests and prices as the console's lists show them."""

from __future__ import annotations

from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from routing.models import UpstreamTest
from routing.reports.holding import HeldPrice
from routing.reports.traffic import CallCounts
from routing.reports.upstreams import Health, TargetFigures
from tenants.prices import dollars

NOTHING = "\N{EN DASH}"
_SIGNS: dict[Health, str] = {"good": "●", "warn": "▲", "bad": "✕", "idle": "○"}


def success(went: CallCounts) -> SafeString:
    """Write the share of calls that were answered."""
    percent = went.success_percent
    if percent is None:
        return format_html('<span class="tg-grey">{}</span>', _("no calls"))
    level = "good" if percent >= 99 else "warn" if percent >= 90 else "bad"
    # Not rounded up: 100 % is said of calls of which none failed.
    told = _("%(percent)s %% of %(calls)s") % {
        "percent": f"{int(percent * 10) / 10:g}",
        "calls": number_format(went.calls, 0, force_grouping=True),
    }
    return format_html('<span class="tg-badge tg-badge--{}">{}</span>', level, told)


def test(kept: UpstreamTest | None) -> SafeString | str:
    """Write the outcome of a test: when it was, how long it took, and the exact error."""
    if kept is None:
        return NOTHING

    when = f"{kept.tested_at:%Y-%m-%d %H:%M:%S} UTC"
    if kept.ok:
        told = _("answered, %(ms)s ms") % {
            "ms": number_format(kept.latency_ms, 0, force_grouping=True)
        }
        return format_html(
            '<span class="tg-badge tg-badge--good">{}</span> <small>{}</small>', told, when
        )
    return format_html(
        '<span class="tg-badge tg-badge--bad">{}</span> <small>{}</small> <span class="tg-error">{}</span>',
        _("failed"),
        when,
        kept.error,
    )


def health_in_words(figures: TargetFigures) -> str:
    """Say what the sign of a target means."""
    if figures.is_off:
        return _("its provider is disabled")
    went = figures.traffic
    if went.calls:
        told = ngettext(
            "%(failed)s of %(calls)s call of this hour and the last failed",
            "%(failed)s of %(calls)s calls of this hour and the last failed",
            went.calls,
        )
        return told % {
            "failed": number_format(went.failed, 0, force_grouping=True),
            "calls": number_format(went.calls, 0, force_grouping=True),
        }
    if figures.test is None:
        return _("no calls in this hour and the last, and no test yet")
    return (
        _("no calls; its last test was answered") if figures.test.ok else _("its last test failed")
    )


def dot(figures: TargetFigures) -> SafeString:
    """Write how a target is doing as a sign, with the words for whoever cannot see it."""
    health = figures.health
    return format_html(
        '<span class="tg-dot tg-dot--{}" title="{}" role="img" aria-label="{}">{}</span>',
        health,
        health_in_words(figures),
        health_in_words(figures),
        _SIGNS[health],
    )


def price(held: HeldPrice, pico: int | None) -> str:
    """Write one price of an alias in dollars per million tokens, or why there is none to show."""
    if pico is not None:
        return f"${dollars.per_million(pico)}"
    match held.kind:
        case "own":
            return _("own provider")
        case "varies":
            return _("varies")
    return _("unpriced")
