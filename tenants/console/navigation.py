"""The console's menu: eleven entries in three groups, each with its tabs, those that the person may open."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from operator import attrgetter

from django.contrib import admin
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from tenants.console import pages
from tenants.console.scope import carried

Text = str | Promise


@dataclass(frozen=True, slots=True)
class MenuTab:
    """A page behind an entry: the name of a registered ConsolePage, or `app.model` for a model's list.

    `rows` is the model whose rows' pages belong to a ConsolePage that lists them.
    """

    label: Text
    target: str
    rows: str = ""


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """An entry of the menu; it opens the first of its tabs that the person may see."""

    group: Text
    label: Text
    icon: str
    tabs: Sequence[MenuTab]


@dataclass(frozen=True, slots=True)
class ShownTab:
    """A tab that the person may open."""

    label: Text
    address: str
    is_open: bool


@dataclass(frozen=True, slots=True)
class ShownEntry:
    """An entry that the person may open, with its tabs."""

    group: Text
    label: Text
    icon: str
    tabs: Sequence[ShownTab]
    is_open: bool

    @property
    def address(self) -> str:
        return self.tabs[0].address


OBSERVE, BUILD, MANAGE = _("Observe"), _("Build"), _("Manage")

# A page that does not exist (yet) in this installation is left out, so an app may add its own by name.
ENTRIES: tuple[MenuEntry, ...] = (
    MenuEntry(OBSERVE, _("Overview"), "home", (MenuTab(_("Overview"), "overview"),)),
    MenuEntry(
        OBSERVE,
        _("Usage"),
        "bar_chart",
        (
            MenuTab(_("Usage"), "usage"),
            MenuTab(_("Ledger"), "tenants.usagerow"),
            MenuTab(_("Hours"), "tenants.usagehour"),
            MenuTab(_("Days"), "tenants.usageday"),
            MenuTab(_("Exports"), "exports"),
        ),
    ),
    MenuEntry(
        OBSERVE,
        _("Requests"),
        "list_alt",
        (
            MenuTab(_("Log"), "requests"),
            MenuTab(_("In flight"), "in_flight"),
            MenuTab(_("Background"), "background"),
        ),
    ),
    MenuEntry(
        OBSERVE,
        _("Responses"),
        "forum",
        (
            MenuTab(_("Responses"), "responses", "responses_api.storedresponse"),
            MenuTab(_("Conversations"), "conversations", "responses_api.conversation"),
            MenuTab(_("Purge"), "purge"),
        ),
    ),
    MenuEntry(
        BUILD,
        _("Keys"),
        "key",
        (
            MenuTab(_("Keys"), "tenants.apikey"),
            MenuTab(_("Budgets"), "tenants.budget"),
            MenuTab(_("Rate limits"), "tenants.ratelimit"),
        ),
    ),
    MenuEntry(
        BUILD,
        _("Models"),
        "deployed_code",
        (
            MenuTab(_("Aliases"), "routing.alias"),
            MenuTab(_("Provider models"), "routing.providermodel"),
            MenuTab(_("Where a request goes"), "explain_route"),
            MenuTab(_("Prices"), "prices"),
            MenuTab(_("Price versions"), "tenants.priceversion"),
        ),
    ),
    MenuEntry(
        BUILD,
        _("Providers"),
        "cloud",
        (
            MenuTab(_("Providers"), "routing.provider"),
            MenuTab(_("Set up"), "provider_setup"),
            MenuTab(_("Credentials"), "routing.credential"),
            MenuTab(_("Circuits"), "circuits"),
        ),
    ),
    MenuEntry(
        BUILD,
        _("Guardrails"),
        "shield",
        (
            MenuTab(_("Guardrails"), "responses_api.guardrail"),
            MenuTab(_("Events"), "responses_api.guardrailevent"),
            MenuTab(_("Test bench"), "guardrail_bench"),
        ),
    ),
    MenuEntry(BUILD, _("Playground"), "science", (MenuTab(_("Playground"), "playground"),)),
    MenuEntry(
        MANAGE,
        _("Billing"),
        "receipt_long",
        (
            MenuTab(_("Invoices"), "tenants.invoice"),
            MenuTab(_("Periods"), "tenants.billingperiod"),
            MenuTab(_("Credit"), "tenants.credittransaction"),
            MenuTab(_("Billing details"), "tenants.billingdetails"),
            MenuTab(_("Re-rating"), "rerating"),
        ),
    ),
    MenuEntry(
        MANAGE,
        _("Settings"),
        "settings",
        (
            MenuTab(_("Tenants"), "tenants.tenant"),
            MenuTab(_("Members"), "tenants.membership"),
            MenuTab(_("Invitations"), "tenants.invitation"),
            MenuTab(_("Webhooks"), "responses_api.webhookendpoint"),
            MenuTab(_("Deliveries"), "deliveries", "responses_api.webhookdelivery"),
            MenuTab(_("Audit"), "tenants.auditevent"),
            MenuTab(_("System"), "system"),
            MenuTab(_("Tasks"), "tenants.longtask"),
            MenuTab(_("Users"), "auth.user"),
            MenuTab(_("Roles"), "tenants.customrole"),
            MenuTab(_("API tokens"), "tenants.apitoken"),
            MenuTab(_("Identity providers"), "tenants.identityprovider"),
            MenuTab(_("Identities"), "tenants.externalidentity"),
            MenuTab(_("Support"), "tenants.supportsession"),
            MenuTab(_("Deletions"), "tenants.tenantdeletion"),
            MenuTab(_("Auditors"), "tenants.platformrole"),
            MenuTab(_("Sessions"), "tenants.consolesession"),
        ),
    ),
)


def menu(request: HttpRequest) -> list[ShownEntry]:
    """Return the entries that the person may open, in their order."""
    query = carried(request)
    shown = []
    for entry in _entries_in(get_language()):
        tabs = tuple(_tabs(entry.tabs, request, query))
        if tabs:
            is_open = any(map(attrgetter("is_open"), tabs))
            shown.append(ShownEntry(entry.group, entry.label, entry.icon, tabs, is_open))
    return shown


@lru_cache(maxsize=16)
def _entries_in(language: str | None) -> tuple[MenuEntry, ...]:
    """Return the entries with their texts in a language, which is the one spoken now."""
    return tuple(
        replace(
            entry,
            group=str(entry.group),
            label=str(entry.label),
            tabs=tuple(replace(tab, label=str(tab.label)) for tab in entry.tabs),
        )
        for entry in ENTRIES
    )


def _tabs(tabs: Iterable[MenuTab], request: HttpRequest, query: str) -> Iterator[ShownTab]:
    for tab in tabs:
        address = _address(tab.target, request)
        if address is not None:
            is_open = _is_at(request.path, address) or (
                bool(tab.rows) and _is_at(request.path, _address(tab.rows, request))
            )
            yield ShownTab(tab.label, f"{address}{query}", is_open)


def _is_at(path: str, address: str | None) -> bool:
    """Tell whether a path is a page, or one below it; below the first page lie all others."""
    if address is None or address == _url("index"):
        return path == address
    return path.startswith(address)


def _address(target: str, request: HttpRequest) -> str | None:
    """Return the address of a tab; None where there is none, or the person may not open it."""
    may = _rule(target)
    if may is None or not may(request):
        return None
    return _url(f"{target.replace('.', '_')}_changelist" if "." in target else target)


# Pages and routes stay what they are once the console is loaded, and every page draws the menu.


@cache
def _url(name: str) -> str | None:
    try:
        return reverse(f"admin:{name}")
    except NoReverseMatch:
        return None


@cache
def _rule(target: str) -> Callable[[HttpRequest], bool] | None:
    """Return who may open a tab; None where there is no such page."""
    if "." in target:
        found = (
            page.has_module_permission
            for model, page in admin.site._registry.items()
            if model._meta.label_lower == target
        )
    else:
        found = (page.may for page in pages.registered() if page.name == target)
    return next(found, None)
