"""Say what a rate limit and a budget's period are, in words for people."""

from __future__ import annotations

from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from tenants import units
from tenants.models import Budget, RateLimit

_LIMITS: dict[tuple[str, str], str | Promise] = {
    ("requests", "minute"): _("%(amount)s requests a minute"),
    ("requests", "hour"): _("%(amount)s requests an hour"),
    ("requests", "day"): _("%(amount)s requests a day"),
    ("tokens", "minute"): _("%(amount)s tokens a minute"),
    ("tokens", "hour"): _("%(amount)s tokens an hour"),
    ("tokens", "day"): _("%(amount)s tokens a day"),
    ("concurrency", ""): _("%(amount)s calls at once"),
}
_OF_UNITS: dict[str, str | Promise] = {
    "minute": _("%(amount)s %(unit)s a minute"),
    "hour": _("%(amount)s %(unit)s an hour"),
    "day": _("%(amount)s %(unit)s a day"),
}
PERIODS: dict[str, str | Promise] = {
    Budget.Period.DAILY: _("a day"),
    Budget.Period.WEEKLY: _("a week"),
    Budget.Period.MONTHLY: _("a month"),
    Budget.Period.TOTAL: _("once"),
}


def limit_text(limit: RateLimit) -> str:
    """Return a limit with its amount in thousands, such as “2,000,000 tokens a day”."""
    if limit.metric not in units.COUNTED_BY_CALL:
        unit = units.of(limit.metric)
        told = {"amount": unit.shown(limit.amount), "unit": _(unit.label)}
        return str(_OF_UNITS[limit.window]) % told
    return str(_LIMITS[limit.metric, limit.window]) % {
        "amount": number_format(limit.amount, 0, force_grouping=True)
    }
