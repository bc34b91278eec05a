"""Fields of forms and labels are written as Django's and the theme's templates write them, to the byte."""

from __future__ import annotations

from copy import deepcopy
from decimal import Decimal
from typing import Any

from django import forms
from django.forms.renderers import DjangoTemplates
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy

from tenants import theme
from tenants.console.form_renderer import FormRenderer

ATTRS: tuple[dict[str, Any], ...] = (
    {},
    {"id": "id_x", "class": "a b", "required": True, "disabled": False, "maxlength": 9},
    {"title": "<\"&'>", "data-x": mark_safe("<b>"), "aria-label": gettext_lazy("Select action")},
)
VALUES = ("", None, 0, 7, Decimal("1.5"), True, "<script>\"'&", mark_safe("&amp;"), "1 & 2\n3", "ü")
MOMENTS = (None, ["2026-11-29", "<23:59>"])
CHOICES: Any = [
    ("", "---------"),
    ("a", gettext_lazy("Overview")),
    (None, "<none>"),
    ("group <1>", [("b", "B & b"), (3, format_html("<i>{}</i>", "<3>"))]),
]
WIDGETS: tuple[Any, ...] = (
    *(forms.TextInput, forms.NumberInput, forms.EmailInput, forms.HiddenInput, forms.CheckboxInput),
    *(forms.DateInput, forms.TimeInput, forms.Textarea, forms.PasswordInput, forms.URLInput),
    *(theme.TextInput, theme.EmailInput, theme.PasswordInput, theme.NumberInput, theme.Textarea),
    *(theme.Checkbox, theme.Switch, theme.Date, theme.DateTime),
)
LISTS: tuple[Any, ...] = (
    *(forms.Select, forms.SelectMultiple, forms.RadioSelect, forms.CheckboxSelectMultiple),
    *(theme.Select, theme.Checkboxes),
)
ROWS = [{"prefix": "$"}, {"suffix": "<per> call"}]


def widgets() -> list[Any]:
    plain = [kind(attrs=dict(attrs)) for kind in WIDGETS for attrs in ATTRS]
    framed = [theme.TextInput(attrs={**ATTRS[1], **extra}) for extra in ROWS]
    return plain + framed + [kind(attrs=dict(a), choices=CHOICES) for kind in LISTS for a in ATTRS]


def written(widget: Any, value: Any, renderer: Any) -> str:
    """Draw a copy: the theme's widgets forget what stands before them once they are drawn."""
    html: str = deepcopy(widget).render("x<y", value, {"id": "id"}, renderer=renderer)
    return html


def test_every_field_is_written_as_its_template_writes_it() -> None:
    ours, djangos = FormRenderer(), DjangoTemplates()
    differing = [
        (type(widget), widget.attrs, value)
        for widget in widgets()
        for value in (MOMENTS if isinstance(widget, theme.DateTime) else VALUES)
        if written(widget, value, ours) != written(widget, value, djangos)
    ]
    assert differing == []


class Filled(forms.Form):
    name = forms.CharField(label=gettext_lazy("Name"))
    plain = forms.CharField(label=mark_safe("<b>x</b>"), required=False, widget=theme.TextInput)
    number = forms.IntegerField(label="a < b", min_value=3)
    chosen = forms.ChoiceField(choices=CHOICES, widget=theme.Select)


def test_labels_and_errors_are_those_of_the_templates() -> None:
    for data in (None, {}, {"number": "1", "chosen": "<x>", "name": "<n>"}):
        pages = []
        for renderer in (FormRenderer(), DjangoTemplates()):
            form = Filled(data, renderer=renderer)
            written: list[str] = [form.as_div(), form.as_p(), *(f.label_tag() for f in form)]
            pages.append(written)
            pages[-1] += [str(f.errors) for f in form]
            pages[-1] += [
                f.label_tag(attrs={"class": "<c>"}, label_suffix=SafeString("<i>*</i>"))
                for f in form
            ]
        assert pages[0] == pages[1]
