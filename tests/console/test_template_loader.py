"""Templates say what Django's own would say of every kind of variable."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from django.template import Context, Engine, Template
from django.utils.functional import SimpleLazyObject
from django.utils.html import format_html
from django.utils.translation import gettext_lazy, override

from tenants.console.template_loader import QuickTemplate


class Row:
    """Has what views give: attributes, properties, methods, and some that templates must not call."""

    name = "<b>"
    html = format_html("<i>{}</i>", "&")
    nothing = None
    kinds: ClassVar[dict[str, str]] = {"a": "<a>", "items": "an entry"}
    row: Any = None

    def method(self) -> str:
        return "called & escaped"

    def itself(self) -> Row:
        return self

    def needs(self, one: str) -> str:
        return one

    def delete(self) -> str:
        raise AssertionError("a template has called it")

    delete.alters_data = True  # type: ignore[attr-defined]

    @property
    def broken(self) -> str:
        raise KeyError("of the property itself")

    def __str__(self) -> str:
        return "<row>"

    __repr__ = __str__


class Kept(Row):
    do_not_call_in_templates = True


class Entries(dict[str, Any]):
    items_shown = "attribute"


def values() -> dict[str, Any]:
    row = Row()
    row.row = Row()
    return {
        "text": "<&\"'>",
        "html": format_html("<b>{}</b>", "<"),
        "none": None,
        "true": True,
        "number": 1234567,
        "decimal": Decimal("1234.5"),
        "at": datetime(2026, 11, 30, 1, 2, 3, tzinfo=UTC),
        "lazy": gettext_lazy("Overview"),
        "row": row,
        "kind": Row,
        "kept": Kept,
        "made": row.itself,
        "dict": {"items": "<entry>", "deep": {"1": "one", "row": row}, 2: "two"},
        "entries": Entries(items="own"),
        "list": ["<first>", {"x": "y"}],
        "person": SimpleLazyObject(lambda: row),
        "words": "shadowed",
    }


VARIABLES = (
    *(
        "text",
        "html",
        "none",
        "true",
        "number",
        "decimal",
        "at",
        "lazy",
        "row",
        "kind",
        "kept",
        "made",
        "dict",
        "entries",
        "list",
        "person",
        "missing",
    ),
    *(
        "row.name",
        "row.html",
        "row.nothing",
        "row.missing",
        "row.method",
        "row.needs",
        "row.delete",
        "row.kinds.a",
        "row.kinds.items",
    ),
    *(
        "row.row.name",
        "row.row.method",
        "row.row.row.name",
        "row.kinds.b",
        "kind.name",
        "kept.name",
        "made.name",
        "made.row.html",
    ),
    *(
        "dict.items",
        "dict.deep.1",
        "dict.deep.row.name",
        "dict.2",
        "dict.keys",
        "dict.missing",
        "entries.items",
        "entries.items_shown",
    ),
    *(
        "list.0",
        "list.1.x",
        "list.9",
        "person.name",
        "person.method",
        "person.missing",
        "missing.name",
        "text.upper",
        "text.0",
    ),
    *(
        "autoescape",
        "template",
        "use_tz",
        "dicts",
        "12",
        "1.5",
        '"a<b"',
        '_("Overview")',
        "forloop.counter",
    ),
)
FILTERS = ("", "|default:'none'", "|length", "|safe", "|default_if_none:text", "|date:'Y'")
TAGS = (
    "{%% if %s %%}yes{%% else %%}no{%% endif %%}",
    "{%% if not %s or text == %s %%}yes{%% endif %%}",
    "{%% for each in list %%}{{ each }}{{ forloop.last }}{{ %s }}{%% endfor %%}",
    "{%% with given=%s %%}{{ given }}{%% endwith %%}",
    "{%% autoescape off %%}{{ %s }}{%% endautoescape %%}",
    "{%% filter upper %%}{{ %s }}{%% endfilter %%}",
)


def sources() -> list[str]:
    plain = [f"{{{{ {name}{more} }}}}" for name in VARIABLES for more in FILTERS]
    return plain + [
        tag.replace("%s", name).replace("%%", "%") for tag in TAGS for name in VARIABLES
    ]


def outcome(kind: type[Template], source: str, engine: Engine) -> Any:
    try:
        return kind(source, engine=engine).render(Context(values()))
    except Exception as error:  # noqa: BLE001  # which it is must be the same
        return type(error), str(error)


@pytest.mark.parametrize("invalid", ["", "no %s", "none"])
def test_variables_are_what_they_are_to_django(invalid: str) -> None:
    engine = Engine(string_if_invalid=invalid)
    differing = [
        (source, theirs, ours)
        for source in sources()
        for language in ("en", "de")
        if (
            (theirs := in_language(language, Template, source, engine))
            != (ours := in_language(language, QuickTemplate, source, engine))
        )
    ]
    assert differing == []


def in_language(language: str, kind: type[Template], source: str, engine: Engine) -> Any:
    with override(language):
        return outcome(kind, source, engine)


def test_a_property_that_fails_fails_the_page() -> None:
    for kind in (Template, QuickTemplate):
        with pytest.raises(KeyError, match="of the property itself"):
            kind("{{ row.broken }}", engine=Engine()).render(Context(values()))
