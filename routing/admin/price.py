"""The page of one price: what holds, its history, and for operators a form for the next one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway_project.lib import clock
from routing import price_setting
from routing.admin import price_form
from routing.admin.price_form import PriceForm
from routing.admin.price_words import change_in_words, dollars_of, may_publish, named
from routing.reports import prices, repricing
from routing.reports.repricing import PricePreview
from tenants.access.rights import Area
from tenants.console.pages import ConsolePage, console_page
from tenants.console.scope import Scope
from tenants.managed.tables import PRICES
from tenants.models import PriceVersion
from tenants.prices import publishing
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line

MAX_VERSIONS = 30


@dataclass(frozen=True, slots=True)
class VersionShown:
    """A version of the history, with what it changed."""

    version: PriceVersion
    changes: Sequence[tuple[str, str, str]]
    is_current: bool
    is_coming: bool


@console_page
class PricePage(ConsolePage):
    """One subject: its price, the history as differences, and for operators a form for the next one."""

    path = "prices/subject"
    name = "price"
    title = gettext_lazy("Price")
    template = "console/models/price.html"
    area = Area.PRICES
    methods: ClassVar[frozenset[str]] = frozenset({"GET", "HEAD", "POST"})

    def respond(self, request: HttpRequest, scope: Scope, **captured: Any) -> HttpResponse:
        subject = _subject(scope)
        if subject is None:
            return redirect(reverse("admin:prices") + scope.link(provider=None, model=None))
        versions = _visible(scope, publishing.published(subject))
        if request.method == "POST":
            if not may_publish(scope.who):
                raise PermissionDenied
            return self._sent(request, scope, subject, versions)
        form = None
        if may_publish(scope.who):
            form = PriceForm(
                initial=price_form.initial(request.GET.get("fill", ""), subject, versions)
            )
        return self._page(request, scope, subject, versions, form)

    def _sent(
        self,
        request: HttpRequest,
        scope: Scope,
        subject: Subject,
        versions: Sequence[PriceVersion],
    ) -> HttpResponse:
        form = PriceForm(request.POST)
        if not form.is_valid():
            return self._page(request, scope, subject, versions, form, status=400)
        now = clock.now()
        try:
            lines = price_form.lines_of(form, subject, versions)
            starts = price_form.starts_at(form.cleaned_data["starts"], scope)
            found = repricing.preview(subject, lines, now)
            if request.POST.get("do") == "publish" and form.data.get(
                "previewed"
            ) == price_form.digest(lines):
                self._publish(request, subject, lines, form, starts)
                return redirect(request.get_full_path())
        except ValidationError as error:
            price_form.tell(form, error)
            return self._page(request, scope, subject, versions, form, status=400)
        except ValueError as error:
            form.add_error(None, str(error))
            return self._page(request, scope, subject, versions, form, status=400)
        return self._page(request, scope, subject, versions, form, (found, lines))

    def _publish(
        self,
        request: HttpRequest,
        subject: Subject,
        lines: Sequence[Line],
        form: PriceForm,
        starts: datetime | None,
    ) -> None:
        seen = form.cleaned_data["seen"]
        made = price_setting.publish_if_seen(
            subject,
            lines,
            request.user.get_username(),
            clock.now(),
            seen=int(seen) if seen.isascii() and seen.isdigit() else None,
            starts=starts,
            source=form.cleaned_data["source"],
        )
        told = _("The price is published; it holds from %(at)s UTC on.")
        messages.success(request, told % {"at": f"{made.effective_from:%Y-%m-%d %H:%M:%S}"})

    def _page(
        self,
        request: HttpRequest,
        scope: Scope,
        subject: Subject,
        versions: Sequence[PriceVersion],
        form: PriceForm | None,
        previewed: tuple[PricePreview, Sequence[Line]] | None = None,
        status: int = 200,
    ) -> HttpResponse:
        now = clock.now()
        fill = (form.data.get("fill") or form.initial.get("fill", "")) if form is not None else ""
        context = {
            "title": _title(subject),
            "form": form,
            "history": _history(versions, now),
            "seen": versions[0].pk if versions else "",
            "is_cost": subject.book == PriceVersion.Book.COST,
            "is_listed": form is not None and price_form.listed(subject, now) != (),
            "further": [named(line) for line in price_form.further(fill, subject, versions, now)]
            if form is not None
            else (),
            "preview": _preview_in_words(previewed[0]) if previewed else None,
            "digest": price_form.digest(previewed[1]) if previewed else "",
            "fill": fill,
        }
        return self.rendered(request, scope, context, status=status)


def _subject(scope: Scope) -> Subject | None:
    """Return what the address names, if they may see its price. Raise Http404 else."""
    given, who = scope.filters, scope.who
    sees_all = (Area.PRICES, "view") in who.platform
    if given.get("provider") and given.get("model"):
        if not sees_all:
            raise Http404
        return Subject.cost(given["provider"], given["model"])
    if not given.get("alias"):
        return None
    if not sees_all and (
        scope.tenant is None
        or given["alias"]
        not in {row.model for row in prices.effective(who, scope.tenant, given["alias"]).rows}
    ):
        raise Http404
    return Subject.charge(given["alias"], scope.tenant)


def _visible(scope: Scope, versions: Sequence[PriceVersion]) -> Sequence[PriceVersion]:
    """Return the versions that they may read about: those published for a tenant of theirs."""
    return [each for each in versions if PRICES.may(scope.who, "view", each)]


def _title(subject: Subject) -> str:
    name = f"{subject.provider}/{subject.model}" if subject.provider else subject.model
    if subject.book == PriceVersion.Book.COST:
        return _("What %(name)s costs") % {"name": name}
    if subject.tenant is None:
        return _("What is charged for %(name)s") % {"name": name}
    return _("What %(tenant)s is charged for %(name)s") % {"name": name, "tenant": subject.tenant}


def _history(versions: Sequence[PriceVersion], now: datetime) -> Sequence[VersionShown]:
    """Return the versions, latest first, each with its differences from the one before it."""
    shown, is_current_found = [], False
    for place, version in enumerate(versions[:MAX_VERSIONS]):
        earlier = versions[place + 1] if place + 1 < len(versions) else None
        before = publishing.lines_of(earlier) if earlier is not None else []
        changes = repricing.differences(before, publishing.lines_of(version))
        is_coming = version.effective_from > now
        is_current = not is_coming and not is_current_found
        is_current_found |= is_current
        rows = [change_in_words(each) for each in changes if each.is_changed]
        shown.append(VersionShown(version, rows, is_current, is_coming))
    return shown


def _preview_in_words(found: PricePreview) -> dict[str, Any]:
    return {
        "before": None if found.before is None else dollars_of(found.before),
        "after": dollars_of(found.after),
        "booked": dollars_of(found.booked),
        "requests": number_format(found.requests, 0, force_grouping=True),
        "has_traffic": bool(found.tokens),
        "is_rough": found.is_rough,
        "days": repricing.DAYS,
    }
