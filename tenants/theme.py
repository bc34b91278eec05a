"""Hold all that the console takes from its theme, django-unfold; no other module imports it.

The theme's ModelAdmin is taken apart rather than derived from. Left out are its actions, which act on a
GET and are given an id as text; its datasets and sections, which query past `Scoped`; and what it keeps of
a request on the page, which all requests share. tenants/console/scoped_admin_checks.py refuses pages that
ask for them. docs/adr/0022-theme.md says why it is this theme, and how it is kept up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.exceptions import ValidationError
from django.db.models import Field
from django.http import HttpRequest
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _
from unfold import fields, widgets
from unfold.admin import ModelAdmin as UnfoldModelAdmin
from unfold.admin import checkbox
from unfold.forms import ActionForm
from unfold.mixins import BaseModelAdminMixin
from unfold.templatetags import unfold_list
from unfold.utils import display_for_field as display_for_field  # noqa: PLC0414  # lists draw by them
from unfold.utils import display_for_value as display_for_value  # noqa: PLC0414  # as above

if TYPE_CHECKING:  # Django 5.2 cannot subscript these when it runs
    _ModelAdmin = admin.ModelAdmin[Any]
    _TabularInline = admin.TabularInline[Any, Any]
else:
    _ModelAdmin = admin.ModelAdmin
    _TabularInline = admin.TabularInline

# What a page of ours must not set: the theme would act on it, or would have.
REFUSED = (
    *("actions_list", "actions_row", "actions_detail", "actions_submit_line"),
    *("change_form_datasets", "list_sections", "conditional_fields", "custom_urls"),
)

# What the theme writes into each cell of a list (tenants/templatetags/lists.py).
CELL_CLASSES = " ".join(unfold_list.ROW_CLASSES)
CHECKBOX_CLASSES = " ".join(unfold_list.CHECKBOX_CLASSES)
LINK_CLASSES = " ".join(unfold_list.LINK_CLASSES)

# Widgets for fields that a form declares itself. Django's own would look foreign, and be too wide for a
# telephone.
TextInput = widgets.UnfoldAdminTextInputWidget
EmailInput = widgets.UnfoldAdminEmailInputWidget
PasswordInput = widgets.UnfoldAdminPasswordWidget
NumberInput = widgets.UnfoldAdminDecimalFieldWidget
Textarea = widgets.UnfoldAdminTextareaWidget
Select = widgets.UnfoldAdminSelectWidget
Checkbox = widgets.UnfoldBooleanWidget
Switch = widgets.UnfoldBooleanSwitchWidget
Date = widgets.UnfoldAdminSingleDateWidget
DateTime = widgets.UnfoldAdminSplitDateTimeWidget
RawId = widgets.UnfoldForeignKeyRawIdWidget


# No exponents: a few characters could stand for a number of a million digits.
_AMOUNT = re.compile(r"-?(?:[0-9]{1,15}(?:\.[0-9]{0,15})?|\.[0-9]{1,15})\Z")


class Checkboxes(forms.CheckboxSelectMultiple):
    """Choices to tick, in groups where the choices are grouped."""

    template_name = "console/widgets/checkboxes.html"

    def __init__(self, attrs: dict[str, Any] | None = None, choices: Any = ()) -> None:
        classes = [*widgets.CHECKBOX_CLASSES, (attrs or {}).get("class", "")]
        super().__init__({**(attrs or {}), "class": " ".join(classes).strip()}, choices)


class LinesField(forms.CharField):
    """A list of texts, one a line."""

    def __init__(self, *, rows: int = 4, **options: Any) -> None:
        options.setdefault("widget", Textarea(attrs={"rows": rows, "spellcheck": "false"}))
        options.setdefault("help_text", _("One a line."))
        super().__init__(strip=False, **options)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(str, value)) if isinstance(value, list | tuple) else value

    def to_python(self, value: Any) -> list[str]:  # type: ignore[override]  # a list is what it is for
        if isinstance(value, list | tuple):
            return [str(each) for each in value]
        lines = (line.strip() for line in str(value or "").splitlines())
        return [line for line in lines if line]

    def validate(self, value: Any) -> None:
        if self.required and not value:
            raise ValidationError(self.error_messages["required"], code="required")

    def run_validators(self, value: Any) -> None:
        for each in value:
            super().run_validators(each)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return self.to_python(initial) != self.to_python(data)


class DollarField(forms.CharField):
    """An amount in dollars for a column of integers, of which `per_dollar` are a dollar.

    Nano-dollars are 10**9 a dollar. A price in pico-dollars a token, shown as dollars per million tokens,
    has 10**6.
    """

    def __init__(
        self,
        *,
        per_dollar: int = 10**9,
        least: int | None = 0,
        suffix: str = "",
        **options: Any,
    ) -> None:
        self._per_dollar, self._least = per_dollar, least
        self._suffix = suffix
        attrs = {
            "inputmode": "decimal",
            "autocomplete": "off",
            "prefix": "$",
            "class": "tg-dollars",
        }
        options.setdefault(
            "widget", TextInput(attrs={**attrs, **({"suffix": suffix} if suffix else {})})
        )
        super().__init__(**options)

    def prepare_value(self, value: Any) -> Any:
        return dollars(value, self._per_dollar) if isinstance(value, int) else value

    def to_python(self, value: Any) -> int | None:  # type: ignore[override]  # an amount is what it is for
        if value is None or value == "" or isinstance(value, int):
            return value if isinstance(value, int) else None
        text = str(value).strip().removeprefix("$").strip()
        if not _AMOUNT.match(text):
            raise ValidationError(_("Enter an amount in dollars, such as 12.50."), code="invalid")
        amount = Decimal(text) * self._per_dollar
        whole = int(amount)
        if whole != amount:
            message = _("Smaller amounts than $%(least)s cannot be kept.")
            least = dollars(1, self._per_dollar)
            raise ValidationError(message, code="invalid", params={"least": least})
        return self._in_bounds(whole)

    def _in_bounds(self, amount: int) -> int:
        if self._least is not None and amount < self._least:
            message = _("Enter at least $%(least)s.")
            least = dollars(self._least, self._per_dollar)
            raise ValidationError(message, code="min_value", params={"least": least})
        if abs(amount) >= 2**63:
            raise ValidationError(_("This amount is too large."), code="max_value")
        return amount

    def validate(self, value: Any) -> None:
        if self.required and value is None:
            raise ValidationError(self.error_messages["required"], code="required")

    def run_validators(self, value: Any) -> None:
        """Run none: they are for text."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.to_python(initial) != self.to_python(data))
        except ValidationError:
            return True


def dollars(amount: int, per_dollar: int = 10**9) -> str:
    """Return an amount as a plain decimal number, without an exponent: 1500000000 is `1.50`."""
    exact = format((Decimal(amount) / per_dollar).normalize(), "f")
    whole, _point, rest = exact.partition(".")
    return f"{whole}.{rest.ljust(2, '0')}"


class _Themed(BaseModelAdminMixin):  # type: ignore[misc]  # the theme has no types
    """Share what pages and inlines take from the theme."""

    def formfield_for_dbfield(
        self, db_field: Field[Any, Any], request: HttpRequest, **options: Any
    ) -> forms.Field | None:
        """Offer to add a related row, and to look at the one chosen, by links that a keyboard reaches."""
        field: forms.Field | None = super().formfield_for_dbfield(db_field, request, **options)
        if field is not None and isinstance(field.widget, RelatedFieldWidgetWrapper):
            field.widget.template_name = "console/widgets/related.html"
        return field


class KeptMedia(forms.Media):
    """Scripts and styles of a page, whose tags are written once for each such list."""

    def __add__(self, other: forms.Media) -> KeptMedia:
        return self._like(super().__add__(other))

    def __getitem__(self, name: str) -> KeptMedia:
        return self._like(super().__getitem__(name))

    @staticmethod
    def _like(media: forms.Media) -> KeptMedia:
        media.__class__ = KeptMedia
        return media  # type: ignore[return-value]  # it is now

    def render(self, **options: Any) -> SafeString:
        key = repr((self._css_lists, self._js_lists))  # type: ignore[attr-defined]
        if key not in _TAGS:
            if len(_TAGS) >= MOST_TAGS:
                _TAGS.clear()
            _TAGS[key] = super().render(**options)
        return _TAGS[key]


_TAGS: dict[str, SafeString] = {}
MOST_TAGS = 256


@lru_cache(maxsize=16)
def _box(_language: str | None) -> tuple[str, str]:
    """Return what the theme writes before and after a row's key in the box that chooses it."""
    drawn = checkbox.render(ACTION_CHECKBOX_NAME, "key")
    before, _, after = drawn.partition('value="key"')
    return f'{before}value="', f'"{after}'


class ThemedModelAdmin(_Themed, _ModelAdmin):
    """The base of the console's pages: Django's, drawn by the theme."""

    action_form = ActionForm
    compressed_fields: ClassVar[bool] = True  # a label beside its field
    list_filter_sheet: ClassVar[bool] = True  # filters in a sheet beside the list
    show_add_link: ClassVar[bool] = True
    # What the theme's templates ask each page for: Django looks long for what is not there.
    list_before_template = list_after_template = list_sections = None
    list_filter_submit = list_fullwidth = list_horizontal_scrollbar_top = warn_unsaved_form = False
    change_form_before_template = change_form_after_template = None
    change_form_outer_before_template = change_form_outer_after_template = None
    conditional_fields = ordering_field = None

    @property
    def media(self) -> forms.Media:
        return KeptMedia._like(super().media)

    @admin.display(description=UnfoldModelAdmin.action_checkbox.short_description)
    def action_checkbox(self, row: Any) -> SafeString:
        """Draw the box by which a row of a list is chosen."""
        before, after = _box(get_language())
        return SafeString(f"{before}{escape(str(row.pk))}{after}")

    def get_action_choices(
        self, request: HttpRequest, default_choices: Any = None
    ) -> list[tuple[str, str]]:
        return super().get_action_choices(request, [("", gettext("Select action"))])


class ThemedInline(_Themed, _TabularInline):
    """The base of rows on another row's page."""

    # As above.
    ordering_field = per_page = template_before = template_after = None
    tab = show_count = hide_title = hide_ordering_field = collapsible = False


def _shown_json(data: Any, encoder: Any) -> SafeString | None:
    """Return a readable JSON value. The theme's own needs a package that only developers have."""
    if data in (None, [], {}):
        return None
    return format_html("<pre class='tg-json'>{}</pre>", json.dumps(data, indent=2, cls=encoder))


fields.prettify_json = _shown_json


def _result_list(context: dict[str, Any], cl: Any) -> dict[str, Any]:
    """Return what the template of a list needs. The theme's own draws all rows here, with the headers anew
    for each; we draw them in that template (tenants/templatetags/lists.py).
    """
    headers = list(unfold_list.result_headers(cl))
    return {
        "cl": cl,
        "result_hidden_fields": list(unfold_list.result_hidden_fields(cl)),
        "result_headers": headers,
        "num_sorted_fields": sum(bool(each["sortable"] and each["sorted"]) for each in headers),
        "has_add_permission": cl.model_admin.has_add_permission(context["request"]),
    }


unfold_list.result_list = _result_list
results_of, result_headers = unfold_list.results, unfold_list.result_headers

_LABELS = {
    (is_checkbox, is_required): " ".join([*classes, *(["required"] if is_required else [])])
    for is_checkbox, classes in (
        (True, widgets.CHECKBOX_LABEL_CLASSES),
        (False, widgets.LABEL_CLASSES),
    )
    for is_required in (True, False)
}
_STAR = SafeString('<span class="text-red-600 dark:text-red-500">*</span>')


def _label_tag(self: Any) -> SafeString:
    """Return the label of a field. The theme's own reads all of its settings for each, to look for flags."""
    bound = self.field
    is_required = bound.field.required
    label: SafeString = bound.label_tag(
        contents=conditional_escape(bound.label),
        attrs={"class": _LABELS[self.is_checkbox, is_required]},
        label_suffix=_STAR if is_required else "",
    )
    return label


fields.UnfoldAdminField.label_tag = _label_tag
# The theme's templates ask what is only read, too.
fields.UnfoldAdminReadonlyField.errors = lambda _self: ""


def asks_for_refused(page: object) -> Sequence[str]:
    """Return what a page sets that the theme would act on past our rules."""
    return [name for name in REFUSED if getattr(page, name, None)]
