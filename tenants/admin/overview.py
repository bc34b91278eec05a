"""The console's first page: how things go, what needs somebody, and the first steps while there are any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway_project.lib import clock
from tenants.access.rights import Area
from tenants.admin.usage_over_time import periods, question
from tenants.console import overview_panels
from tenants.console.pages import ConsolePage, console_page
from tenants.console.scope import Scope
from tenants.reports import charts, first_steps
from tenants.reports.attention import Attention
from tenants.reports.first_steps import StepQuestion
from tenants.reports.overview import Overview, Pace, overview
from tenants.templatetags.figures import change, count, dollars, milliseconds, percent, short


@dataclass(frozen=True, slots=True)
class Card:
    """A figure, and what it was in the span before."""

    label: str
    figure: str
    beside: Sequence[str]


@dataclass(frozen=True, slots=True)
class GuideStep:
    """A first step, with the address of the page that does it."""

    title: str | Promise
    hint: str | Promise
    link: str
    button: str | Promise
    is_done: bool


@dataclass(frozen=True, slots=True)
class NeedLine:
    """Something that needs somebody, with the address of the page that mends it."""

    level: str
    text: str
    link: str


@console_page
class OverviewPage(ConsolePage):
    """The console's first page."""

    path = ""
    name = "overview"
    title = gettext_lazy("Overview")
    template = "console/overview.html"

    def context(self, request: HttpRequest, scope: Scope, **captured: Any) -> dict[str, Any]:
        try:
            found = overview(scope.who, question(scope, "alias", {}), clock.now())
        except PermissionDenied:  # a role that sees no usage still has a first page
            return {}
        tenants = scope.tenant_ids(Area.USAGE)
        is_new = not found.now.used.answered and not first_steps.was_anything_answered(tenants)
        return {
            "overview": found,
            "periods": periods(scope),
            "cards": list(cards(found)),
            "charts": [
                charts.charge(found.by_alias),
                charts.outcomes(found.by_alias, found.refused),
            ],
            "needs": [_need(each) for each in found.attention],
            "steps": _steps(request, scope, tenants) if is_new else [],
            "panels": overview_panels.panels_of(request, scope),
            "usage_link": reverse("admin:usage") + scope.link(),
        }


def cards(found: Overview) -> Iterator[Card]:
    """Return the figures at the top."""
    now, before = found.now.used, found.before.used
    refused = sum(found.refused)
    asked, was = now.requests + refused, before.requests + found.refused_before
    yield _card(_("Requests"), asked, was, count(asked))
    success = before.success_percent
    beside = [] if success is None else [_("%(before)s before") % {"before": percent(success)}]
    yield Card(_("Answered"), percent(now.success_percent), beside)
    yield from _times(found.now, found.before)
    yield _card(_("Tokens"), now.tokens, before.tokens, short(now.tokens))
    yield _card(_("Charge"), now.charge_nano, before.charge_nano, dollars(now.charge_nano))
    if now.margin_nano is not None:
        was = before.margin_nano or 0
        yield _card(_("Margin"), now.margin_nano, was, dollars(now.margin_nano))


def _card(label: str, now: int, before: int, figure: str) -> Card:
    return Card(label, figure, [change(now, before)])


def _times(now: Pace, before: Pace) -> Iterator[Card]:
    for label, half, most in (
        (_("Median duration"), "duration_p50", "duration_p95"),
        (_("Median first token"), "first_token_p50", "first_token_p95"),
    ):
        most_now, half_before = getattr(now.latency, most), getattr(before.latency, half)
        beside = []
        if most_now is not None:
            beside.append(_("95 %%: %(most)s") % {"most": milliseconds(most_now)})
        if half_before is not None:
            beside.append(_("%(before)s before") % {"before": milliseconds(half_before)})
        yield Card(label, milliseconds(getattr(now.latency, half)), beside)


def _need(each: Attention) -> NeedLine:
    arguments = [each.object_id] if each.object_id else []
    return NeedLine(each.level, each.text, _address(f"admin:{each.page}", *arguments))


def _steps(request: HttpRequest, scope: Scope, tenants: frozenset[int] | None) -> list[GuideStep]:
    asked = StepQuestion(scope.who, request.user, tenants)
    return [
        GuideStep(
            step.title,
            step.hint,
            _address(step.page, *step.about),
            "" if step.is_done else step.button,
            step.is_done,
        )
        for step in first_steps.first_steps(asked)
    ]


def _address(name: str, *arguments: str) -> str:
    """Return the address of a page; nothing where there is no such page."""
    try:
        return reverse(name, args=arguments)
    except NoReverseMatch:
        return ""
