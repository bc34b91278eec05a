"""The compilers of queries on PostgreSQL."""

from __future__ import annotations

from django.db.backends.postgresql import compiler

from gateway_project.lib.compilers import PlainColumns

SQLAggregateCompiler = compiler.SQLAggregateCompiler
SQLDeleteCompiler = compiler.SQLDeleteCompiler
SQLInsertCompiler = compiler.SQLInsertCompiler
SQLUpdateCompiler = compiler.SQLUpdateCompiler


class PostgresqlCompiler(PlainColumns, compiler.SQLCompiler):
    """Compiles what is selected."""


SQLCompiler = PostgresqlCompiler
