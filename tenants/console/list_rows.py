"""Write the rows of a list, of which a page has up to fifty with a dozen cells each.

What is the same in all rows (classes, labels, where links lead) is found once a list; the theme finds it anew
for each cell. tests/console/test_list_rows.py compares what is written with the theme's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from functools import partial
from html import escape
from operator import attrgetter
from typing import Any

from django.contrib.admin import utils
from django.contrib.admin.templatetags import admin_list
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import FieldDoesNotExist, ObjectDoesNotExist
from django.db.models import (
    BooleanField,
    CharField,
    DateField,
    ForeignKey,
    ManyToOneRel,
    Model,
    TextField,
    TimeField,
)
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext

from tenants import theme
from tenants.console.markup import shown

# A key that stands in an address as it is, and one in whose place others are put.
_PLAIN = re.compile(r"[0-9A-Za-z-]+\Z")
_PLACE = "0-0-0"

Headers = Sequence[Mapping[str, Any]]
# What a cell holds, and what it shows for want of that.
Held = tuple[Any, Any]


@dataclass(frozen=True, slots=True)
class _ListColumn:
    """Holds what the cells of a column have in common. `read` and `draw` are two, since what cannot be read
    is empty.
    """

    read: Callable[[Model], Held]
    draw: Callable[[Any, Any], Any]
    classes: str
    label: str
    tag: str
    is_link: bool
    is_of_times: bool | None  # None: those cells are whose value is a time


def rows_of(cl: ChangeList, headers: Headers) -> Iterator[str]:
    """Yield the cells of each row of a list, one a line."""
    columns, link = list(_columns(cl, headers)), _links(cl)
    empty = cl.model_admin.get_empty_value_display()
    for row in cl.result_list:
        yield "".join(_cell(column, row, link, empty) for column in columns)


def _cell(column: _ListColumn, row: Model, link: Callable[[Model], str], empty: Any) -> str:
    try:
        value, empty = column.read(row)
    except ObjectDoesNotExist:
        inner, is_time = shown(empty), False
    else:
        inner, is_time = shown(column.draw(value, empty)), bool(column.is_of_times)
        if column.is_of_times is None:
            is_time = isinstance(value, date | time)
    if column.is_link and (begins := link(row)):
        inner = f"{begins}{inner}</a>"
    classes = f"{column.classes} nowrap" if is_time else column.classes
    return f'<{column.tag} class="{classes}" data-label="{column.label}">{inner}</{column.tag}>\n'


def _columns(cl: ChangeList, headers: Headers) -> Iterator[_ListColumn]:
    has_link = False
    for number, name in enumerate(cl.list_display):
        is_link = _is_link(cl, name, is_first=not has_link)
        is_unnamed = number == 0 and not is_link
        label = shown(gettext("Select record") if is_unnamed else headers[number]["text"])
        own = admin_list._coerce_field_name(name, number)  # type: ignore[attr-defined]
        read, draw, is_of_times = _kind(cl, name)
        yield _ListColumn(
            read=read,
            draw=draw,
            classes=f"{'action-checkbox' if name == 'action_checkbox' else f'field-{own}'} tg-cell",
            label=f"{label[:1].upper()}{label[1:]}",  # telephones show it
            tag="th" if is_link and not has_link else "td",
            is_link=is_link,
            is_of_times=is_of_times,
        )
        has_link = has_link or is_link


def _is_link(cl: ChangeList, name: Any, *, is_first: bool) -> bool:
    if cl.list_display_links is None:
        return False
    return (is_first and not cl.list_display_links) or name in cl.list_display_links


def _links(cl: ChangeList) -> Callable[[Model], str]:
    """Return what writes the beginning of a link to a row; blank where rows have no page."""
    name = f"admin:{cl.opts.app_label}_{cl.opts.model_name}_change"
    try:
        pattern = reverse(name, args=(_PLACE,), current_app=cl.model_admin.admin_site.name)
    except NoReverseMatch:
        return lambda _row: ""
    kept: Any = {"preserved_filters": cl.preserved_filters, "opts": cl.opts}
    before, _, after = add_preserved_filters(kept, pattern).partition(_PLACE)
    key_name = str(cl.to_field) if cl.to_field else cl.lookup_opts.pk.attname

    def link(row: Model) -> str:
        key = str(quote(getattr(row, cl.pk_attname)))
        is_plain = _PLAIN.match(key)
        address = (
            f"{before}{key}{after}"
            if is_plain
            else add_preserved_filters(kept, cl.url_for_result(row))
        )
        opener = f' data-popup-opener="{shown(row.serializable_value(key_name))}"'
        return f'<a href="{escape(address)}" class="{theme.LINK_CLASSES}" {opener if cl.is_popup else ""}>'

    return link


# What a kind of column reads and draws, and whether its cells are times.
Kind = tuple[Callable[[Model], Held], Callable[[Any, Any], Any], bool | None]


def _kind(cl: ChangeList, name: Any) -> Kind:
    page = cl.model_admin
    usual = page.get_empty_value_display()
    try:
        field = utils._get_non_gfk_field(cl.model._meta, name)  # type: ignore[attr-defined]
    except (FieldDoesNotExist, utils.FieldIsAForeignKeyColumnName):
        return _computed(page, name, usual)
    read = attrgetter(field.name)
    is_of_times = isinstance(field, DateField | TimeField | ForeignKey)
    if field.auto_created:
        return (lambda row: (read(row), usual)), _draw_value(is_icon=False), None
    draw: Callable[[Any, Any], Any]
    if isinstance(field.remote_field, ManyToOneRel):
        draw = _draw_related
    elif choices := getattr(field, "flatchoices", None):
        draw = partial(_draw_choice, dict(choices), field)
    elif isinstance(field, BooleanField):
        draw = _draw_value(is_icon=True)
    else:
        draw = partial(_draw_field, field)
    return (lambda row: (read(row), usual)), draw, is_of_times


def _computed(page: Any, name: Any, usual: Any) -> Kind:
    """Return the kind of a column that a function of the page, or something of the row's, is shown in."""
    function = name if callable(name) else getattr(page, name, None) if name != "__str__" else None
    if function is None:

        def looked_up(row: Model) -> Held:
            _field, found, value = utils.lookup_field(name, row, page)
            return value, getattr(found, "empty_value_display", usual)

        return looked_up, _draw_value(is_icon=False), None
    empty = getattr(function, "empty_value_display", usual)
    draw = _draw_value(is_icon=getattr(function, "boolean", False))
    return (lambda row: (function(row), empty)), draw, None


def _draw_value(*, is_icon: bool) -> Callable[[Any, Any], Any]:
    """Return what draws values that are no field's; of icons there are few, and each takes a template."""
    icons: dict[Any, Any] = {}

    def draw(value: Any, empty: Any) -> Any:
        if isinstance(value, str) and not is_icon:
            return value
        if not is_icon or not (value is None or isinstance(value, bool)):
            return theme.display_for_value(value, empty, is_icon)
        if value not in icons:
            icons[value] = theme.display_for_value(value, empty, is_icon)
        return icons[value]

    return draw


def _draw_related(value: Any, empty: Any) -> Any:
    return empty if value is None else value


def _draw_choice(choices: dict[Any, Any], field: Any, value: Any, empty: Any) -> Any:
    try:
        return choices.get(value, empty)
    except TypeError:  # a list of them
        return theme.display_for_field(value, field, empty)


def _draw_field(field: Any, value: Any, empty: Any) -> Any:
    if value and isinstance(value, str) and isinstance(field, CharField | TextField):
        return value
    return theme.display_for_field(value, field, empty)
