"""Write prices, and how they differ, for the console's pages."""

from __future__ import annotations

from decimal import Decimal

from django.utils.formats import number_format
from django.utils.translation import gettext as _

from routing.reports.repricing import LineChange
from tenants import units
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.billing import money
from tenants.prices import dollars
from tenants.prices.rating import Line


def may_publish(who: Access) -> bool:
    """Tell whether they make the platform's prices."""
    return {(Area.PRICES, "add"), (Area.PRICES, "change")} <= who.platform


def change_in_words(change: LineChange) -> tuple[str, str, str]:
    name = _class_in_words(change.token_class, change.service_tier, change.above_tokens)
    return (
        name,
        _amount(change.token_class, change.before),
        _amount(change.token_class, change.after),
    )


def _amount(token_class: str, pico: int | None) -> str:
    if pico is None:
        return _("none")
    exact = dollars.said(pico, units.of(token_class).priced_per)
    return f"${number_format(exact, len(exact.partition('.')[2]), force_grouping=True)}"


def _class_in_words(token_class: str, tier: str, above: int) -> str:
    parts = [_(units.of(token_class).label)]
    if tier != "default":
        parts.append(_("tier %(tier)s") % {"tier": tier})
    if above:
        parts.append(
            _("above %(tokens)s tokens") % {"tokens": number_format(above, 0, force_grouping=True)}
        )
    return ", ".join(parts)


def named(line: Line) -> tuple[str, str]:
    name = _class_in_words(line.token_class, line.service_tier, line.above_tokens)
    return name, _amount(line.token_class, line.pico_per_token)


def dollars_of(nano: int) -> str:
    """Write an amount to the cent, or exactly where it is less than a dollar."""
    if 0 < abs(nano) < money.NANO_PER_DOLLAR:
        exact = money.exact_dollars(nano).rstrip("0")
        return f"${number_format(exact, len(exact.partition('.')[2]))}"
    return f"${number_format(Decimal(money.cents(nano)).scaleb(-2), 2, force_grouping=True)}"
