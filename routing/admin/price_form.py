"""The form for a price in dollars: what it begins with, and the lines that it makes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway_project.lib import clock
from routing import price_import, price_setting
from routing.reports import repricing
from tenants.console.scope import Scope
from tenants.models import PriceVersion
from tenants.prices import dollars, publishing
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line


class PriceForm(forms.Form):
    """Prices in dollars per million tokens, exactly as they are typed."""

    input = forms.CharField(label=gettext_lazy("Input"), max_length=40)
    cache_read = forms.CharField(
        label=gettext_lazy("Read from cache"), max_length=40, required=False
    )
    cache_write = forms.CharField(
        label=gettext_lazy("Written to cache"), max_length=40, required=False
    )
    output = forms.CharField(label=gettext_lazy("Output"), max_length=40)
    reasoning = forms.CharField(label=gettext_lazy("Reasoning"), max_length=40, required=False)
    cache_write_long = forms.CharField(
        label=gettext_lazy("Written for longer"), max_length=40, required=False
    )
    input_audio = forms.CharField(label=gettext_lazy("Audio in"), max_length=40, required=False)
    output_audio = forms.CharField(label=gettext_lazy("Audio out"), max_length=40, required=False)
    starts = forms.CharField(
        label=gettext_lazy("Effective from"),
        max_length=40,
        required=False,
        help_text=gettext_lazy("Empty: from now. Else such as 2026-12-01 or 2026-12-01T08:00."),
    )
    source = forms.CharField(label=gettext_lazy("Source"), max_length=200, required=False)
    keeps_further = forms.BooleanField(
        label=gettext_lazy("Keep tiers, thresholds and other units as they are listed below"),
        required=False,
        initial=True,
    )
    fill = forms.CharField(max_length=10, required=False, widget=forms.HiddenInput)
    seen = forms.CharField(max_length=20, required=False, widget=forms.HiddenInput)
    previewed = forms.CharField(max_length=64, required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name in price_setting.CLASSES:
            self.fields[name].widget.attrs |= {"inputmode": "decimal", "autocomplete": "off"}


def listed(subject: Subject, now: datetime) -> Sequence[Line]:
    if subject.book != PriceVersion.Book.COST:
        return ()
    return price_import.listed_lines(subject.provider, subject.model, now)


def _base(
    fill: str, subject: Subject, versions: Sequence[PriceVersion], now: datetime
) -> Sequence[Line]:
    """Return the prices that the form begins with: the list's if asked for, or if none is published."""
    if fill == "list" or not versions:
        return listed(subject, now)
    return publishing.lines_of(versions[0])


def further(
    fill: str, subject: Subject, versions: Sequence[PriceVersion], now: datetime
) -> Sequence[Line]:
    """Return what the form has no field for."""
    known = set(price_setting.CLASSES.values())
    return [
        line
        for line in _base(fill, subject, versions, now)
        if not repricing.is_usual(line) or line.token_class not in known
    ]


def initial(fill: str, subject: Subject, versions: Sequence[PriceVersion]) -> dict[str, Any]:
    now = clock.now()
    usual = {
        line.token_class: dollars.per_million(line.pico_per_token)
        for line in _base(fill, subject, versions, now)
        if repricing.is_usual(line)
    }
    is_list = bool(usual) and (fill == "list" or not versions)
    source = price_import.source_of(price_import.read(None)) if is_list else ""
    typed = {option: usual.get(name, "") for option, name in price_setting.CLASSES.items()}
    return {**typed, "source": source, "fill": "list" if is_list else "", "keeps_further": True}


def lines_of(form: PriceForm, subject: Subject, versions: Sequence[PriceVersion]) -> Sequence[Line]:
    values = form.cleaned_data
    typed = {name: values[name].strip().removeprefix("$") for name in price_setting.CLASSES}
    lines = price_setting.lines({name: text or None for name, text in typed.items()})
    if not values["keeps_further"]:
        return lines
    return [*lines, *further(values["fill"], subject, versions, clock.now())]


def starts_at(text: str, scope: Scope) -> datetime | None:
    if not text.strip():
        return None
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        told = _("Write a date such as 2026-12-01, or 2026-12-01T08:00.")
        raise ValidationError({"starts": told}) from None
    return at if at.tzinfo is not None else at.replace(tzinfo=scope.zone)


def digest(lines: Sequence[Line]) -> str:
    """Return what shows that the lines that are published are those whose effect was looked at."""
    return hashlib.sha256(repr(sorted(map(repr, lines))).encode()).hexdigest()[:32]


def tell(form: PriceForm, error: ValidationError) -> None:
    if not hasattr(error, "error_dict"):
        form.add_error(None, error)
        return
    names = {"effective_from": "starts"}
    for name, sentences in error.message_dict.items():
        field = names.get(name, name)
        for sentence in sentences:
            form.add_error(field if field in form.fields else None, sentence)
