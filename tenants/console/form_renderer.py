"""Write the fields of forms, of which a page may have fifty, without a template for each of their parts.

The bytes are those of Django's and the theme's templates, with which tests/console/test_form_renderer.py
compares them. What is not plain is left to the templates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from html import escape
from pathlib import Path
from typing import Any

from django.forms import renderers
from django.template.backends.django import DjangoTemplates
from django.utils.functional import Promise
from django.utils.safestring import SafeData

from tenants.console.markup import shown

Values = Mapping[str, Any]
# Parts that other templates include stand here in the place of Django's.
OURS = Path(__file__).resolve().parent.parent / "templates" / "console" / "forms"
DJANGOS = Path(renderers.__file__).resolve().parent / "templates"
# A field of which a template shows nothing but what stands around it.
NOTHING: Values = {"type": "", "name": "", "value": None, "attrs": {}, "optgroups": ()}
OPTION = "django/forms/widgets/select_option.html"


class FormRenderer(renderers.DjangoTemplates):
    """Django's renderer, which writes what it can without templates."""

    @cached_property
    def engine(self) -> Any:
        options = {"APP_DIRS": True, "DIRS": [OURS, DJANGOS], "NAME": "console_forms"}
        return DjangoTemplates({**options, "OPTIONS": {}})

    def render(self, template_name: str, context: Any, request: Any = None) -> str:
        write = _WRITERS.get(template_name)
        written = None if write is None else write(self, template_name, context)
        if written is not None:
            return written
        rendered: str = super().render(template_name, context, request)
        return rendered

    def frame(self, template_name: str, tag: str) -> tuple[str, str]:
        """Return what a template has before and after the tag of its field."""
        found = self._frames.get(template_name)
        if found is None:
            whole: str = super().render(template_name, {"widget": NOTHING})
            before, _, after = whole.partition(tag)
            found = self._frames[template_name] = before, after
        return found

    @cached_property
    def _frames(self) -> dict[str, tuple[str, str]]:
        return {}


def attributes(attrs: Values) -> str:
    """Return the attributes of a tag, each after a blank."""
    return "".join(
        f" {shown(name)}" if value is True else f' {shown(name)}="{_formatted(value)}"'
        for name, value in attrs.items()
        if value is not False
    )


def input_tag(widget: Values) -> str:
    """Return the tag of a field that is typed in or ticked."""
    value = widget.get("value")
    given = "" if value is None else f' value="{_formatted(value)}"'
    kind, name = shown(widget.get("type", "")), shown(widget["name"])
    return f'<input type="{kind}" name="{name}"{given}{attributes(widget["attrs"])}>'


def _formatted(value: Any) -> str:
    """Return a value as the filter `stringformat:'s'` leaves it on a page."""
    return value if isinstance(value, SafeData) else escape(str(value))  # type: ignore[return-value]


def _input(renderer: FormRenderer, template_name: str, context: Values) -> str:
    return input_tag(context["widget"])


def _framed_input(renderer: FormRenderer, template_name: str, context: Values) -> str | None:
    widget = context["widget"]
    if any(widget.get(name) for name in ("prefix", "suffix", "prefix_icon", "suffix_icon")):
        return None
    before, after = renderer.frame(template_name, input_tag(NOTHING))
    return f"{before}{input_tag(widget)}{after}"


def _textarea(
    start: str, renderer: FormRenderer, template_name: str, context: Values
) -> str | None:
    widget = context["widget"]
    value = widget["value"] or ""
    if not isinstance(value, str):
        return None
    name, attrs = shown(widget["name"]), attributes(widget["attrs"])
    return f'<textarea name="{name}"{attrs}>{start}{shown(value)}</textarea>'


def _label(renderer: FormRenderer, template_name: str, context: Values) -> str:
    label = shown(context["label"])
    if not context["use_tag"]:
        return label.strip()
    return f"<{context['tag']}{attributes(context['attrs'])}>{label}</{context['tag']}>"


def _errors(renderer: FormRenderer, template_name: str, context: Values) -> str | None:
    return None if context["errors"] else ""


def _select(
    indents: tuple[str, str, str], renderer: FormRenderer, template_name: str, context: Values
) -> str | None:
    widget = context["widget"]
    choices = _options(widget, indents)
    if choices is None:
        return None
    before, after = renderer.frame(template_name, '<select name="">')
    name, attrs = shown(widget["name"]), attributes(widget["attrs"])
    return f'{before}<select name="{name}"{attrs}>{choices}{after}'


def _options(widget: Values, indents: tuple[str, str, str]) -> str | None:
    """Return the options to choose from; None where one is more than a text."""
    group_begins, begins, group_ends = indents
    parts: list[str] = []
    for group, choices, _index in widget["optgroups"]:
        if group:
            parts.append(f'{group_begins}<optgroup label="{shown(group)}">')
        for each in choices:
            label = each["label"]
            if each["template_name"] != OPTION or not isinstance(label, str | Promise):
                return None
            value, attrs = _formatted(each["value"]), attributes(each["attrs"])
            parts.append(f'{begins}<option value="{value}"{attrs}>{shown(label)}</option>\n')
        if group:
            parts.append(f"{group_ends}</optgroup>")
    return "".join(parts)


def _table() -> Iterator[tuple[str, Writer]]:
    for kind in ("input", "text", "number", "hidden", "email", "checkbox", "date", "time"):
        yield f"django/forms/widgets/{kind}.html", _input
    for kind in ("text", "date", "time"):
        yield f"unfold/widgets/{kind}.html", _framed_input
    yield "django/forms/widgets/textarea.html", partial(_textarea, "\n")
    yield "unfold/widgets/textarea.html", partial(_textarea, "")
    yield "django/forms/widgets/select.html", partial(_select, ("\n  ", "\n  ", "\n  "))
    eight, twelve, sixteen = (f"\n{' ' * depth}" for depth in (8, 12, 16))
    yield "unfold/widgets/select.html", partial(_select, (eight, twelve, sixteen))
    yield "django/forms/label.html", _label
    for kind in ("default", "ul"):
        yield f"django/forms/errors/list/{kind}.html", _errors


# By the name of the template in whose place it writes; None: this one is for the template.
Writer = Callable[[FormRenderer, str, Any], str | None]
_WRITERS: dict[str, Writer] = dict(_table())
