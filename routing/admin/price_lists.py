"""The page that imports a price list: what differs from what is published, and publishing it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from gateway_project.lib import clock
from routing import price_import
from routing.admin.price_words import change_in_words, may_publish
from routing.price_import import Change
from routing.reports import repricing
from tenants.access.requests import access
from tenants.access.rights import Area
from tenants.console.pages import ConsolePage, console_page
from tenants.console.scope import Scope
from tenants.prices.starter import PriceList


class ListForm(forms.Form):
    """A price list to upload; the shipped one without."""

    file = forms.FileField(
        required=False,
        label=gettext_lazy("Price list"),
        help_text=gettext_lazy("JSON as in docs/money.md, at most 2 MB. Empty: the shipped list."),
    )


@dataclass(frozen=True, slots=True)
class ChangeShown:
    """A model of the preview: from when on, and what would change."""

    change: Change
    steps: Sequence[tuple[datetime, Sequence[tuple[str, str, str]]]]


@console_page
class ImportPage(ConsolePage):
    """Compare a price list with what is published, and publish what differs."""

    path = "prices/import"
    name = "price_import"
    title = gettext_lazy("Import prices")
    template = "console/models/import.html"
    area = Area.PRICES
    methods: ClassVar[frozenset[str]] = frozenset({"GET", "HEAD", "POST"})

    @classmethod
    def may(cls, request: HttpRequest) -> bool:
        return may_publish(access(request))

    def respond(self, request: HttpRequest, scope: Scope, **captured: Any) -> HttpResponse:
        form = ListForm(request.POST, request.FILES) if request.method == "POST" else ListForm()
        now = clock.now()
        try:
            content = _content(request)
            listed = price_import.read(None) if content is None else price_import.decode(content)
            changes = price_import.compare(listed, now, scope.filters.get("provider"))
        except ValidationError as error:
            for sentence in error.messages:
                messages.error(request, sentence)
            return self.rendered(request, scope, {"form": ListForm()}, status=400)
        if request.method == "POST" and request.POST.get("do") == "publish":
            by = request.user.get_username()
            try:
                made = price_import.publish(
                    _still(changes, request.POST), price_import.source_of(listed), by, now
                )
            except ValidationError as error:
                messages.error(request, " ".join(error.messages))
            else:
                text = ngettext("%(n)s price is published.", "%(n)s prices are published.", made)
                messages.success(request, text % {"n": made})
            return redirect(reverse("admin:prices") + scope.link(provider=None))
        return self.rendered(request, scope, _import_context(form, listed, changes, content))


def _still(changes: Sequence[Change], posted: Mapping[str, str]) -> Sequence[Change]:
    """Return the changes that are ticked. Raise ValidationError if they are not those that were shown."""
    if posted.get("seen") != _fingerprint(changes):
        raise ValidationError(
            _("Prices or models changed meanwhile; look at the differences again.")
        )
    return [each for each in changes if f"take-{each.provider}/{each.model}" in posted]


def _fingerprint(changes: Sequence[Change]) -> str:
    """Return what the differences are; their instants are those of whoever looks."""
    told = [
        (each.provider, each.model, [(step.lines, step.before) for step in each.steps])
        for each in changes
    ]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:32]


def _import_context(
    form: ListForm, listed: PriceList, changes: Sequence[Change], content: bytes | None
) -> dict[str, Any]:
    counts = Counter(change.state for change in changes)
    return {
        "form": form,
        "source": price_import.source_of(listed),
        "rows": [_change_shown(each) for each in changes if each.steps],
        "unchanged": counts["unchanged"],
        "unknown": [each for each in changes if each.state == "unknown"],
        "content": "" if content is None else base64.b64encode(zlib.compress(content, 9)).decode(),
        "seen": _fingerprint(changes),
    }


def _change_shown(change: Change) -> ChangeShown:
    steps = [
        (
            step.effective_from,
            [
                change_in_words(each)
                for each in repricing.differences(step.before, step.lines)
                if each.is_changed
            ],
        )
        for step in change.steps
    ]
    return ChangeShown(change, steps)


def _content(request: HttpRequest) -> bytes | None:
    """Return the list that was sent, as a file or as it came back from the preview. Raise ValidationError."""
    if request.method != "POST":
        return None
    if (file := request.FILES.get("file")) is not None:
        if (file.size or 0) > price_import.MAX_FILE_BYTES:
            raise ValidationError(_("The file is larger than 2 MB."))
        content: bytes = file.read()
        return content
    text = request.POST.get("content", "")
    if not text:
        return None
    try:
        unpack = zlib.decompressobj()
        packed = base64.b64decode(text, validate=True)
        found = unpack.decompress(packed, price_import.MAX_FILE_BYTES + 1)
    except (binascii.Error, ValueError, zlib.error):
        raise ValidationError(
            _("The list did not come back as it was sent; upload it again.")
        ) from None
    return found
