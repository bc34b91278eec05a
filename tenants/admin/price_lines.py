"""The form of a price in a draft: dollars as they are quoted, for a column of pico-dollars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tenants import units
from tenants.models import PriceLine
from tenants.prices import dollars
from tenants.theme import Select, TextInput

if TYPE_CHECKING:  # Django 5.2 cannot subscript it when it runs
    _ModelForm = forms.ModelForm[PriceLine]
else:
    _ModelForm = forms.ModelForm


def class_in_words(name: str) -> str:
    """Say what a price is of, and for how many."""
    unit = units.of(name)
    per = _("million tokens") if unit.is_token else unit.per
    return _("%(unit)s, $ per %(per)s") % {"unit": _(unit.label), "per": per}


class PriceLineForm(_ModelForm):
    token_class = forms.ChoiceField(
        label=gettext_lazy("Price of"),
        choices=lambda: [(name, class_in_words(name)) for name in units.REGISTRY],
        widget=Select,
    )
    dollars = forms.CharField(
        label=gettext_lazy("Dollars"),
        max_length=40,
        widget=TextInput(attrs={"inputmode": "decimal", "autocomplete": "off", "prefix": "$"}),
    )

    class Meta:
        model = PriceLine
        fields = ("token_class", "service_tier", "above_tokens")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance.pk is not None:
            unit = units.of(self.instance.token_class)
            self.initial["dollars"] = dollars.said(self.instance.pico_per_token, unit.priced_per)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if {"dollars", "token_class"} <= cleaned.keys():
            typed = cleaned["dollars"].removeprefix("$").strip()
            unit = units.of(cleaned["token_class"])
            try:
                self.instance.pico_per_token = (
                    dollars.pico(typed)
                    if unit.is_token
                    else dollars.pico_of_unit(typed, unit.priced_per)
                )
            except ValueError as error:
                self.add_error("dollars", str(error))
        return cleaned
