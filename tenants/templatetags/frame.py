"""Draw what stands around every page: a template would take as long for it as for many a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from operator import attrgetter

from django import template
from django.utils.safestring import SafeString, mark_safe

from tenants.console.navigation import ShownEntry, ShownTab

register = template.Library()
_OPEN = ' class="tg-open" aria-current="{}"'


@register.simple_tag
def menu_groups(menu: Sequence[ShownEntry] = ()) -> SafeString:
    """Return the entries of the menu under the headings of their groups."""
    groups = enumerate(groupby(menu or (), key=attrgetter("group")), start=1)
    parts = (_group(number, str(name), entries) for number, (name, entries) in groups)
    return mark_safe("\n".join(parts))  # noqa: S308  # escaped


def _group(number: int, name: str, entries: Iterable[ShownEntry]) -> str:
    items = "\n".join(map(_entry, entries))
    heading = f'<h2 id="tg-menu-{number}">{escape(name)}</h2>'
    return f'{heading}\n<ul aria-labelledby="tg-menu-{number}">\n{items}\n</ul>'


def _entry(entry: ShownEntry) -> str:
    here = _OPEN.format("page" if len(entry.tabs) == 1 else "true") if entry.is_open else ""
    icon = f'<span class="material-symbols-outlined" aria-hidden="true">{escape(entry.icon)}</span>'
    address, label = escape(entry.address), escape(str(entry.label))
    return f'<li><a href="{address}"{here}>{icon} {label}</a></li>'


@register.simple_tag
def menu_tabs(menu: Sequence[ShownEntry] = ()) -> SafeString:
    """Return the tabs of the entry that is open, where it has several."""
    found = [entry for entry in menu or () if len(entry.tabs) > 1 and entry.is_open]
    return mark_safe("\n".join(map(_tabs, found)))  # noqa: S308  # escaped


def _tabs(entry: ShownEntry) -> str:
    items = "\n".join(map(_tab, entry.tabs))
    label = escape(str(entry.label))
    return f'<nav class="tg-tabs" aria-label="{label}"><ul>\n{items}\n</ul></nav>'


def _tab(tab: ShownTab) -> str:
    here = _OPEN.format("page") if tab.is_open else ""
    return f'<li><a href="{escape(tab.address)}"{here}>{escape(str(tab.label))}</a></li>'
