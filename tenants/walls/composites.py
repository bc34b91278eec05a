"""Composite foreign keys of PostgreSQL: (tenant, row) of a link together, where both sides have a tenant.

The table that is led to gets a unique index on (tenant, key), and the link a second foreign key that names
both columns. SQLite cannot add a foreign key to a table, so there the triggers stand alone.

A link is listed here once a migration has made its key; until then, triggers guard it. Each tuple below
belongs to the migration that names it, and stays as it is: further keys get a tuple and a migration of their
own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True, slots=True)
class CompositeKey:
    """A link as its tables have it, which is all that migrations know."""

    label: str
    table: str
    column: str
    parent: str
    parent_key: str = "id"

    @property
    def name(self) -> str:
        return f"wall_{self.label.split('.', 1)[1].replace('.', '_')}"

    @property
    def index(self) -> str:
        return f"wall_{self.parent}_key"

    def index_sql(self, *, concurrently: bool) -> str:
        how = "CONCURRENTLY " if concurrently else ""
        return (
            f'CREATE UNIQUE INDEX {how}IF NOT EXISTS "{self.index}" '
            f'ON "{self.parent}" (tenant_id, "{self.parent_key}")'
        )

    def key_sql(self) -> str:
        return (
            f'ALTER TABLE "{self.table}" ADD CONSTRAINT "{self.name}" '
            f'FOREIGN KEY (tenant_id, "{self.column}") '
            f'REFERENCES "{self.parent}" (tenant_id, "{self.parent_key}") '
            "DEFERRABLE INITIALLY DEFERRED NOT VALID"
        )

    def stray_sql(self) -> str:
        return (
            f'SELECT 1 FROM "{self.table}" c, "{self.parent}" t '  # noqa: S608
            f'WHERE t."{self.parent_key}" = c."{self.column}" AND t.tenant_id <> c.tenant_id LIMIT 1'
        )


OF_TENANTS = (
    CompositeKey("tenants.budget.api_key", "tenants_budget", "api_key_id", "tenants_apikey"),
    CompositeKey("tenants.ratelimit.api_key", "tenants_ratelimit", "api_key_id", "tenants_apikey"),
    CompositeKey("tenants.invoice.period", "tenants_invoice", "period_id", "tenants_billingperiod"),
    CompositeKey("tenants.invoice.corrects", "tenants_invoice", "corrects_id", "tenants_invoice"),
    CompositeKey(
        "tenants.credittransaction.grant",
        "tenants_credittransaction",
        "grant_id",
        "tenants_credittransaction",
    ),
    CompositeKey(
        "tenants.credittransaction.invoice",
        "tenants_credittransaction",
        "invoice_id",
        "tenants_invoice",
    ),
)
OF_RESPONSES = (
    CompositeKey(
        "responses_api.conversationitem.conversation",
        "responses_api_conversationitem",
        "conversation_id",
        "responses_api_conversation",
    ),
    CompositeKey(
        "responses_api.webhookdelivery.endpoint",
        "responses_api_webhookdelivery",
        "endpoint_id",
        "responses_api_webhookendpoint",
    ),
)
ALL = (*OF_TENANTS, *OF_RESPONSES)


def labels() -> frozenset[str]:
    return frozenset(key.label for key in ALL)


def add(connection: BaseDatabaseWrapper, keys: Sequence[CompositeKey]) -> list[str]:
    """Make the keys that are missing, and validate those that no stored row breaks; return the names of the
    others.

    Each statement holds its locks for a moment only: the index is built while others write, if no transaction
    is open, and the key counts for new rows before old ones are looked at. What was done is not done again.
    """
    if connection.vendor != "postgresql":
        return []
    states = _states(connection)
    return [key.name for key in keys if not _add(connection, key, states.get(key.name))]


def differences(connection: BaseDatabaseWrapper) -> list[str]:
    """Return a sentence for each key that the database lacks."""
    if connection.vendor != "postgresql":
        return []
    found = _states(connection)
    return [f"The foreign key {key.name} is missing." for key in ALL if key.name not in found]


def validated(connection: BaseDatabaseWrapper) -> frozenset[str]:
    """Return the links whose key every stored row is known to obey."""
    if connection.vendor != "postgresql":
        return frozenset()
    states = _states(connection)
    return frozenset(key.label for key in ALL if states.get(key.name))


def _add(connection: BaseDatabaseWrapper, key: CompositeKey, is_valid: bool | None) -> bool:
    if is_valid:
        return True
    with connection.cursor() as cursor:
        if is_valid is None:
            concurrently = not connection.in_atomic_block
            if concurrently and _is_broken(connection, key.index):
                cursor.execute(f'DROP INDEX CONCURRENTLY "{key.index}"')
            cursor.execute(key.index_sql(concurrently=concurrently))
            cursor.execute(key.key_sql())
        cursor.execute(key.stray_sql())
        if cursor.fetchone() is not None:
            return False
        cursor.execute(f'ALTER TABLE "{key.table}" VALIDATE CONSTRAINT "{key.name}"')
    return True


def _states(connection: BaseDatabaseWrapper) -> dict[str, bool]:
    """Return the keys there are, and whether all stored rows are known to obey each."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT k.conname, k.convalidated FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid "
            "WHERE k.contype = 'f' AND pg_table_is_visible(c.oid) AND starts_with(k.conname, 'wall_')"
        )
        return dict(cursor.fetchall())


def _is_broken(connection: BaseDatabaseWrapper, index: str) -> bool:
    """Tell whether a build of the index was interrupted."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT NOT i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
            "WHERE c.relname = %s AND pg_table_is_visible(c.oid)",
            [index],
        )
        found = cursor.fetchone()
    return bool(found and found[0])


def drop(connection: BaseDatabaseWrapper, keys: Sequence[CompositeKey]) -> None:
    """Undo `add`."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        for key in keys:
            cursor.execute(f'ALTER TABLE "{key.table}" DROP CONSTRAINT IF EXISTS "{key.name}"')
        for index in {key.index for key in keys}:
            cursor.execute(f'DROP INDEX IF EXISTS "{index}"')
