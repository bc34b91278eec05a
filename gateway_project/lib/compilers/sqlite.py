"""The compilers of queries on SQLite."""

from __future__ import annotations

from django.db.models.sql import compiler

from gateway_project.lib.compilers import PlainColumns

SQLAggregateCompiler = compiler.SQLAggregateCompiler
SQLDeleteCompiler = compiler.SQLDeleteCompiler
SQLInsertCompiler = compiler.SQLInsertCompiler
SQLUpdateCompiler = compiler.SQLUpdateCompiler


class SqliteCompiler(PlainColumns, compiler.SQLCompiler):
    """Compiles what is selected."""


SQLCompiler = SqliteCompiler
