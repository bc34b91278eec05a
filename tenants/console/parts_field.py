"""A form field for a column that holds an object: a labelled field for each of its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.functional import Promise

Parts = dict[str, Any]


def is_filled(value: Any) -> bool:
    """Tell whether a part says something; 0 does."""
    return value is not None and value is not False and value not in ("", [])


def filled(parts: Parts) -> Parts:
    """Leave out what is empty: an object has no null, and no is what it means without it."""
    return {name: value for name, value in parts.items() if is_filled(value)}


def as_they_are(value: Any) -> Parts:
    """Return the parts of a stored object; none of what somebody stored past all checks."""
    return value if isinstance(value, dict) else {}


class PartsWidget(forms.MultiWidget):
    """Draws the parts below one another; folded, they stand behind a line that says which are filled in."""

    template_name = "console/widgets/parts.html"

    def __init__(self, field: PartsField, *, folded: str | Promise = "") -> None:
        self._field, self._folded = field, folded
        super().__init__({name: part.widget for name, part in field.parts.items()})

    def decompress(self, value: Any) -> list[Any]:
        shown = self._field.show(value)
        return [part.prepare_value(shown.get(name)) for name, part in self._field.parts.items()]

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        values = value if isinstance(value, list) else self.decompress(value)
        context = super().get_context(name, values, attrs)
        drawn = context["widget"]["subwidgets"]
        parts = self._field.parts.values()
        for part, widget, given in zip(parts, drawn, values, strict=True):
            widget["label"], widget["help"] = part.label, part.help_text
            widget["is_filled"] = is_filled(given)
            widget.setdefault("type", "")  # the template asks each
            widget.setdefault("optgroups", ())
        labels = [str(each["label"]) for each in drawn if each["is_filled"]]
        context["widget"]["folded"] = self._folded and (", ".join(labels) or self._folded)
        # Shown again after an error, which may be about it.
        context["widget"]["is_open"] = isinstance(value, list) and bool(labels)
        return context


class PartsField(forms.MultiValueField):
    """An object of known parts, each optional. `show` takes a stored object apart, `read` makes one.

    `folded` is what stands for an object without parts where the parts are folded away.
    """

    widget: PartsWidget

    def __init__(
        self,
        parts: Mapping[str, forms.Field],
        *,
        read: Callable[[Parts], Any] = filled,
        show: Callable[[Any], Parts] = as_they_are,
        folded: str | Promise = "",
        **options: Any,
    ) -> None:
        self.parts, self.read, self.show = dict(parts), read, show
        for part in self.parts.values():
            part.required = False
        super().__init__(
            fields=tuple(self.parts.values()),
            widget=PartsWidget(self, folded=folded),
            require_all_fields=False,
            required=False,
            **options,
        )

    def clean(self, value: Any) -> Any:
        """Name the part that an error is about, which Django would not."""
        given = value if isinstance(value, list | tuple) else self.widget.decompress(value)
        cleaned, wrong = {}, []
        for (name, part), each in zip(self.parts.items(), given, strict=True):
            try:
                cleaned[name] = part.clean(each)
            except ValidationError as error:
                wrong += [f"{part.label}: {message}" for message in error.messages]
        if wrong:
            raise ValidationError(wrong)
        return self.read(cleaned)
