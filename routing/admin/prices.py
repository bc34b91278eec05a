"""The page of prices that hold now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from routing.admin.price_words import may_publish
from routing.reports import prices
from routing.reports.prices import EffectivePrice
from tenants.access.rights import Area
from tenants.console.pages import ConsolePage, console_page
from tenants.console.scope import Scope
from tenants.models import PriceVersion
from tenants.prices import dollars

Text = str | Promise
COLUMNS = (
    gettext_lazy("Input"),
    gettext_lazy("Cached"),
    gettext_lazy("Written"),
    gettext_lazy("Output"),
    gettext_lazy("Reasoning"),
)


@dataclass(frozen=True, slots=True)
class ShownPrice:
    """A row of the list, in words."""

    price: EffectivePrice
    amounts: Sequence[tuple[Text, str]]
    note: str
    address: str

    @property
    def is_missing(self) -> bool:
        return self.price.kind == "none" and self.price.picos is None


@console_page
class PricesPage(ConsolePage):
    """List the prices that hold now, those that are missing and needed first."""

    path = "prices"
    name = "prices"
    title = gettext_lazy("Prices")
    template = "console/models/prices.html"
    area = Area.PRICES

    def context(self, request: HttpRequest, scope: Scope, **captured: Any) -> dict[str, Any]:
        words = request.GET.get("q", "").replace("\0", "")[:100]
        found = prices.effective(scope.who, scope.tenant, words)
        is_ours = scope.tenant is None and (Area.PRICES, "view") in scope.who.platform
        return {
            "rows": [_row(each, scope) for each in found.rows],
            "has_more": found.has_more,
            "columns": COLUMNS,
            "words": words,
            "is_platforms": is_ours,
            "may_publish": may_publish(scope.who),
            "shows_tenant": is_ours or len(scope.who.tenants) > 1,
        }


def _row(price: EffectivePrice, scope: Scope) -> ShownPrice:
    amounts = [
        (column, f"${dollars.per_million(pico)}")
        for column, pico in zip(COLUMNS, price.picos or (), strict=False)
    ]
    return ShownPrice(price, amounts, _note(price), _address(price, scope))


def _note(price: EffectivePrice) -> str:
    match price.kind:
        case "passed_on":
            return _("What the model costs: the alias has no price of its own.")
        case "varies":
            return _("Passed on at cost, which differs by what answers.")
        case "own":
            return _("Your own provider: nothing is charged.")
        case "fee":
            return _("Fee for calls to providers of your own.")
        case "none":
            return _("Unpriced: a hard budget refuses it, other calls are booked with no amount.")
    return ""


def _address(price: EffectivePrice, scope: Scope) -> str:
    if price.book == PriceVersion.Book.COST:
        query = scope.link(provider=price.provider, model=price.model, alias=None)
    else:
        query = scope.link(
            alias=price.model, tenant=price.tenant or None, provider=None, model=None
        )
    return reverse("admin:price") + query
