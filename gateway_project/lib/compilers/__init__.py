"""Compile the columns of a query with one call each, where Django makes seven and more.

A page of the console selects some hundred, nearly all of them plain: a table's own, and of a kind that is not
converted. `install` puts these compilers in the place of Django's; they say what Django's say
(tests/lib/test_compilers.py). Relies on what is internal to Django's compilers, which is pinned.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.models.expressions import Col, ColPairs
from django.db.models.sql import compiler

if TYPE_CHECKING:
    _Base = compiler.SQLCompiler
else:
    _Base = object

MODULES = {
    "sqlite": "gateway_project.lib.compilers.sqlite",
    "postgresql": "gateway_project.lib.compilers.postgresql",
}


def install() -> None:
    """Let this process's queries be compiled by these."""
    for connection in connections.all():
        operations: Any = type(connection.ops)
        operations.compiler_module = MODULES[connection.vendor]


class PlainColumns(_Base):
    """A compiler to which plain columns are cheap. Each database has one."""

    quoted: dict[str, str]  # names of columns as statements have them
    # Columns whose values are taken as they come, by the identity of their fields, which are kept so that no
    # other gets it.
    unconverted: dict[tuple[int, int], tuple[Any, Any]]

    def __init_subclass__(cls) -> None:
        cls.quoted, cls.unconverted = {}, {}

    def compile(self, node: Any) -> Any:
        if type(node) is not Col or not node.alias:
            return super().compile(node)
        cache: dict[str, str] = self.quote_cache
        target: Any = node.target
        name: str = target.column
        alias = cache.get(node.alias) or self.quote_name_unless_alias(node.alias)
        column = cache.get(name)
        if column is None:
            column = cache[name] = self._quoted(name)
        return f"{alias}.{column}", []

    def _quoted(self, name: str) -> str:
        query = self.query
        if name in query.alias_map or query.extra or query.external_aliases:
            # It may be what this query calls a table, which is not quoted.
            quoted: str = self.quote_name_unless_alias(name)
            return quoted
        if name not in self.quoted:
            self.quoted[name] = self.quote_name_unless_alias(name)
        return self.quoted[name]

    def get_default_columns(
        self, select_mask: Any, start_alias: Any = None, opts: Any = None, from_parent: Any = None
    ) -> Any:
        opts = opts or self.query.get_meta()
        if select_mask or from_parent or opts is None or opts.proxy or opts.parents:
            return super().get_default_columns(select_mask, start_alias, opts, from_parent)
        alias = start_alias or self.query.get_initial_alias()
        return [field.get_col(alias) for field in opts.concrete_fields]

    def get_converters(self, expressions: Iterable[Any]) -> Any:
        expressions = list(expressions)
        if self.has_composite_fields(expressions):
            return super().get_converters(expressions)
        converters = {}
        for number, each in enumerate(expressions):
            if type(each) is not Col:
                found = super().get_converters([each]).get(0)
            elif (id(each.target), id(each.output_field)) in self.unconverted:
                continue
            elif (found := super().get_converters([each]).get(0)) is None:
                fields = each.target, each.output_field
                self.unconverted[id(each.target), id(each.output_field)] = fields
            if found is not None:
                converters[number] = found
        return converters

    def has_composite_fields(self, expressions: Any) -> bool:
        for each in expressions:  # noqa: SIM110  # a generator would take a call for each
            if isinstance(each, ColPairs):
                return True
        return False
