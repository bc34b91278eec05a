"""Compile a query once, where all that differs from one call to the next is the id that it asks for.

What every page of the console asks first takes Django ten times as long to put together as the database to
answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from django.db import connection
from django.db.models import Model, QuerySet
from django.db.models.query import get_related_populators

Row = TypeVar("Row", bound=Model)


class CompiledQuery(NamedTuple):
    """A compiled query, and how its rows become objects."""

    sql: str
    params: tuple[Any, ...]
    model: type[Model]
    columns: slice
    names: Sequence[str]
    converters: Sequence[tuple[int, Sequence[Callable[..., Any]], Any]]
    related: Sequence[Any]
    annotations: Sequence[tuple[str, int]]


class Statement(Generic[Row]):
    """The rows that `ask` finds for an id, each time in one query.

    `ask` is called once for each kind of database, with an `example` of the id that stands nowhere else in
    the query; `select_related` and annotations are taken over, `prefetch_related` is not.
    """

    def __init__(self, ask: Callable[[Any], QuerySet[Row]], example: Any) -> None:
        self._ask, self._example = ask, example
        self._by_vendor: dict[str, CompiledQuery] = {}

    def rows(self, key: Any) -> list[Row]:
        """Return the rows of this id."""
        compiled = self._by_vendor.get(connection.vendor)
        if compiled is None:
            compiled = self._by_vendor[connection.vendor] = _compiled(self._ask(self._example))
        params = [key if each == self._example else each for each in compiled.params]
        with connection.cursor() as cursor:
            cursor.execute(compiled.sql, params)
            found = cursor.fetchall()
        return [_object(compiled, list(row)) for row in found]


def _compiled(query: QuerySet[Any]) -> CompiledQuery:
    compiler = query.query.get_compiler(using=connection.alias)
    sql, params = compiler.as_sql()
    known = compiler.klass_info
    assert known is not None
    fields = known["select_fields"]
    columns = slice(fields[0], fields[-1] + 1)
    expressions = [each[0] for each in compiler.select]
    return CompiledQuery(
        sql,
        tuple(params),
        known["model"],
        columns,
        [each.target.attname for each in expressions[columns]],
        list(_converters(compiler, expressions)),
        get_related_populators(known, compiler.select, connection.alias),  # type: ignore[call-arg]  # the stubs are of a later Django
        list((compiler.annotation_col_map or {}).items()),
    )


def _converters(compiler: Any, expressions: Any) -> Iterator[tuple[int, Any, Any]]:
    for place, (functions, expression) in compiler.get_converters(expressions).items():
        yield place, functions, expression


def _object(compiled: CompiledQuery, row: list[Any]) -> Any:
    for place, functions, expression in compiled.converters:
        for convert in functions:
            row[place] = convert(row[place], expression, connection)
    made = compiled.model.from_db(connection.alias, compiled.names, row[compiled.columns])
    for populator in compiled.related:
        populator.populate(row, made)
    for name, place in compiled.annotations:
        setattr(made, name, row[place])
    return made
