"""Build a query once and ask it often, with other values each time.

Django takes five to ten times as long to build and compile a query as to run it and read a few rows. Of every
key and every alias the same few questions are asked, after each change of the configuration anew: a key and
its route took 8 ms of a worker, and take less than one.

    _LIMITS = PreparedQuery(lambda tenant, key: RateLimit.objects.filter(tenant=tenant, api_key=key))
    rows = _LIMITS.rows(caller.tenant_id, caller.key_id)

A value is a text, a whole number, bytes, None, or for `__in` a tuple of them. It must reach the statement as
it is given: one that a lookup changes (`startswith`) is refused when the query is built. What a statement
says also depends on which values are None and on how many a tuple has: each such shape is built by itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.models.query import get_related_populators

# The stubs describe a later Django, which takes one argument more.
_populators: Any = get_related_populators

M = TypeVar("M", bound=models.Model)

Scalar = int | str | bytes
Given = Scalar | tuple[Scalar, ...] | None
Shape = tuple[Any, ...]

MOST_STATEMENTS = 64
# Of longer lists few are as long as another, and what they find takes longer to read than they to compile.
MOST_VALUES = 16
# Values that nothing else in a query has, each within what its column can hold.
_FIRST_NUMBER = 2_147_000_000


class PreparedQuery(Generic[M]):
    """A query whose values are arguments; `build` makes it with Django's own words."""

    def __init__(self, build: Callable[..., models.QuerySet[M]]) -> None:
        self._build = build
        self._statements: dict[Shape, _Statement] = {}

    def rows(self, *values: Given) -> list[M]:
        """Return the rows for these values, as the query set would."""
        shape = (connections[DEFAULT_DB_ALIAS].vendor, *map(_shape, values))
        statement = self._statements.get(shape)
        if statement is None:
            if len(self._statements) >= MOST_STATEMENTS or any(map(_is_long, values)):
                return list(self._build(*values))
            try:
                statement = _compile(self._build, values)
            except EmptyResultSet:  # of no values, nothing is one
                return list(self._build(*values))
            self._statements[shape] = statement
        return list(statement.ask(list(_scalars(values))))


def _is_long(value: Given) -> bool:
    return isinstance(value, tuple) and len(value) > MOST_VALUES


def _shape(value: Given) -> Any:
    return (type(value[0]), len(value)) if isinstance(value, tuple) and value else type(value)


def _scalars(values: tuple[Given, ...]) -> Iterator[Scalar]:
    for value in values:
        if isinstance(value, tuple):
            yield from value
        elif value is not None:
            yield value


@dataclass(frozen=True, slots=True)
class _Statement:
    """Compiled SQL, its parameters, and where values stand among them; how rows become instances."""

    sql: str
    parameters: tuple[Any, ...]
    places: tuple[tuple[int, int, type[Any]], ...]  # in parameters, in values, adapted to this
    compiler: Any
    converters: Any
    model: Any
    columns: slice
    names: list[str]
    related: Any
    annotations: dict[str, int]  # their place in a row

    def ask(self, values: list[Scalar]) -> Iterator[Any]:
        parameters = list(self.parameters)
        for place, number, adapted in self.places:
            parameters[place] = adapted(values[number])
        with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
            cursor.execute(self.sql, parameters)
            found = cursor.fetchall()
        if self.converters:
            found = self.compiler.apply_converters(found, self.converters)
        for row in found:
            instance = self.model.from_db(DEFAULT_DB_ALIAS, self.names, row[self.columns])
            for populator in self.related:
                populator.populate(row, instance)
            for name, place in self.annotations.items():
                setattr(instance, name, row[place])
            yield instance


def _compile(build: Callable[..., models.QuerySet[Any]], values: tuple[Given, ...]) -> _Statement:
    """Build the query with values that can be found again among its parameters."""
    counter = itertools.count()
    marks: list[Scalar] = []

    def mark(value: Scalar) -> Scalar:
        number = next(counter)
        marks.append(
            _FIRST_NUMBER + number
            if isinstance(value, int)
            else f"value {number} of a query"
            if isinstance(value, str)
            else b"value %d of a query" % number
        )
        return marks[-1]

    def marked(value: Given) -> Given:
        if isinstance(value, tuple):
            return tuple(map(mark, value))
        return None if value is None else mark(value)

    queryset = build(*map(marked, values))
    compiler: Any = queryset.query.get_compiler(using=DEFAULT_DB_ALIAS)
    sql, parameters = compiler.as_sql()
    places = tuple(
        (place, marks.index(plain), type(parameter))
        for place, parameter in enumerate(parameters)
        if (plain := _plain(parameter)) in marks
    )
    missing = set(range(len(marks))) - {number for _, number, _ in places}
    assert not missing, "a value is not in the statement as it is"
    selected = compiler.klass_info["select_fields"]
    columns = slice(selected[0], selected[-1] + 1)
    return _Statement(
        sql=sql,
        parameters=tuple(parameters),
        places=places,
        compiler=compiler,
        converters=compiler.get_converters([entry[0] for entry in compiler.select]),
        model=compiler.klass_info["model"],
        columns=columns,
        names=[entry[0].target.attname for entry in compiler.select[columns]],
        related=_populators(compiler.klass_info, compiler.select, DEFAULT_DB_ALIAS),
        annotations=dict(compiler.annotation_col_map),
    )


def _plain(parameter: Any) -> Any:
    """Return a parameter as it was before the database's adapter wrapped it (bytes alone are)."""
    return getattr(parameter, "obj", parameter)
