"""Find rows by their id or by the beginning of their name, among those that a person's lists would show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse

from tenants.access import ownership
from tenants.console.checked_input import could_hold
from tenants.models import Tenant

if TYPE_CHECKING:  # Django 5.2 cannot subscript it when it runs
    _Page = admin.ModelAdmin[Any]
else:
    _Page = object

MOST_FOUND = 5
MAX_WORDS = 200
# Of a key only what may be in a log, however much of it was pasted.
_KEY = re.compile(r"tg_(?:live|test|admin|play)_([0-9A-Za-z]{10})(?:_.*)?\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class FoundBy:
    """The columns by which rows of a page are found: ids whole, names by their beginning."""

    ids: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A row that was found. `is_exact`: by its id, so that one may be led to it at once."""

    text: str
    note: str
    address: str
    is_exact: bool


@dataclass(frozen=True, slots=True)
class FoundGroup:
    """Rows of one kind that were found, under the name of their page."""

    name: str
    rows: tuple[FoundRow, ...]


class Searched(_Page):
    """A page whose rows the console's search finds."""

    found_by: ClassVar[FoundBy | None] = None

    def find(self, request: HttpRequest, words: str, tenant: Tenant | None) -> Iterator[FoundRow]:
        """Yield the rows that are meant, a few at most, of those that the person may see."""
        if self.found_by is None:
            return
        by_id = self.seen(request, self._keys(Q_any(self._ids(words))), tenant)
        for row in by_id:
            yield self.found(row, is_exact=True)
        if by_id:
            return
        named = Q_any({f"{name}__istartswith": words for name in self.found_by.names})
        for row in self._rows(request, tenant).filter(named)[:MOST_FOUND] if named else ():
            yield self.found(row, is_exact=False)

    def found(self, row: Model, *, is_exact: bool) -> FoundRow:
        """Return a row as the search shows it."""
        base = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
        owner = getattr(row, "tenant", None)
        note = str(owner) if owner is not None else ""
        return FoundRow(str(row), note, reverse(base, args=(quote(row.pk),)), is_exact)

    def _ids(self, words: str) -> dict[str, Any]:
        assert self.found_by is not None
        fields = {
            name: self.opts.pk if name == "pk" else self.opts.get_field(name)
            for name in self.found_by.ids
        }
        return {name: words for name, field in fields.items() if could_hold(field, words)}

    def _keys(self, condition: Q | None) -> list[Any]:
        """Return the keys of rows by an indexed column alone; whose they are is asked afterwards."""
        if condition is None:
            return []
        rows = self.model._default_manager.filter(condition)
        return list(rows.order_by().values_list("pk", flat=True)[:MOST_FOUND])

    def seen(self, request: HttpRequest, keys: list[Any], tenant: Tenant | None) -> list[Model]:
        """Return those of these rows that the person may see, of the tenant looked at."""
        return list(self._rows(request, tenant).filter(pk__in=keys)) if keys else []

    def _rows(self, request: HttpRequest, tenant: Tenant | None) -> QuerySet[Any]:
        rows = self.get_queryset(request)
        if tenant is None or not ownership.paths(self.model):
            return rows
        return ownership.rows_of(rows, {tenant.pk}, platform=True)


def Q_any(conditions: dict[str, Any]) -> Q | None:  # noqa: N802  # as Django's Q
    """Return a condition that holds where any of these does; None for none."""
    return Q(*conditions.items(), _connector=Q.OR) if conditions else None


def search(request: HttpRequest, words: str, tenant: Tenant | None) -> list[FoundGroup]:
    """Return what was found on all pages that the person may see, in the order of their registration."""
    meant = cleaned(words)
    if not meant:
        return []
    groups = (
        FoundGroup(str(page.opts.verbose_name_plural), tuple(page.find(request, meant, tenant)))
        for page in _searched(admin.site._registry.values())
        if page.has_module_permission(request)
    )
    return [group for group in groups if group.rows]


def exact(groups: Iterable[FoundGroup]) -> FoundRow | None:
    """Return the one row whose id was given; None where there is none, or more than one."""
    rows = [row for group in groups for row in group.rows if row.is_exact]
    return rows[0] if len(rows) == 1 else None


def cleaned(words: str) -> str:
    """Return what is looked for: no NUL, not too long, and of a pasted key its public part alone."""
    text = words.replace("\0", "").strip()
    key = _KEY.match(text)
    return key[1] if key is not None else text[:MAX_WORDS]


def _searched(pages: Iterable[Any]) -> Iterator[Searched]:
    return (page for page in pages if isinstance(page, Searched))
