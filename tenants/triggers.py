"""The one registry of database triggers: what the database itself refuses, on SQLite and on PostgreSQL.

SQLite drops a table's triggers when a migration rebuilds it, and refuses to rename a table while another
table's trigger names one that is away just then. So they are taken out before a migration there, and put
back after every one; `differences` says whether the database holds what the registry does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

Event = Literal["INSERT", "UPDATE", "DELETE"]
PREFIX = "tollgate_"
# pg_trigger.tgtype: FOR EACH ROW is 1, BEFORE is 2, and then the event.
_TYPES: dict[Event, int] = {"INSERT": 3 | 4, "DELETE": 3 | 8, "UPDATE": 3 | 16}


@dataclass(frozen=True, slots=True)
class Trigger:
    """Refuses `event` on rows of `table` for which `condition` holds; `reads` are further tables it needs."""

    table: str
    event: Event
    condition: str
    message: str
    reads: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{PREFIX}{self.table.removeprefix('tenants_')}_{self.event.lower()}"

    @property
    def tables(self) -> tuple[str, ...]:
        return (self.table, *self.reads)

    def sqlite_sql(self) -> str:
        return (
            f'CREATE TRIGGER "{self.name}" BEFORE {self.event} ON "{self.table}" FOR EACH ROW '
            f"WHEN {self.condition} BEGIN SELECT RAISE(ABORT, '{self.message}'); END"
        )

    def postgres_body(self) -> str:
        row = "OLD" if self.event == "DELETE" else "NEW"
        return (
            f"BEGIN IF {self.condition} THEN RAISE EXCEPTION '{self.message}' "
            f"USING ERRCODE = 'integrity_constraint_violation'; END IF; RETURN {row}; END"
        )


def _finalized_invoice(row: str) -> str:
    return (
        "EXISTS (SELECT 1 FROM tenants_invoice i "  # noqa: S608  # OLD or NEW
        f"WHERE i.id = {row}.invoice_id AND i.state = 'finalized')"
    )


def _published_price(row: str) -> str:
    return (
        "EXISTS (SELECT 1 FROM tenants_priceversion v "  # noqa: S608  # OLD or NEW
        f"WHERE v.id = {row}.version_id AND v.published_at IS NOT NULL)"
    )


_ALWAYS = "1 = 1"
_APPENDED = "is only ever added to; correct it by a further row."
_KEPT_USAGE = (
    "NOT EXISTS (SELECT 1 FROM tenants_retentionhorizon h "
    "WHERE h.\"table\" = 'usage' AND OLD.opened_at < h.before)"
)
_INVOICE = ("tenants_invoice",)
_PRICE = ("tenants_priceversion",)
_LINE_IS_FINAL = "A finalized invoice keeps its lines."
_PRICE_IS_FINAL = "A published price never changes; publish a further version."

REGISTRY: tuple[Trigger, ...] = (
    Trigger("tenants_usagerow", "UPDATE", _ALWAYS, f"The ledger {_APPENDED}"),
    Trigger(
        "tenants_usagerow",
        "DELETE",
        _KEPT_USAGE,
        "Only usage from before its horizon may be deleted.",
        ("tenants_retentionhorizon",),
    ),
    Trigger("tenants_credittransaction", "UPDATE", _ALWAYS, f"Credit {_APPENDED}"),
    Trigger("tenants_credittransaction", "DELETE", _ALWAYS, f"Credit {_APPENDED}"),
    Trigger("tenants_creditentry", "UPDATE", _ALWAYS, f"Credit {_APPENDED}"),
    Trigger("tenants_creditentry", "DELETE", _ALWAYS, f"Credit {_APPENDED}"),
    Trigger(
        "tenants_invoice",
        "UPDATE",
        "OLD.state = 'finalized'",
        "A finalized invoice never changes; write a credit note.",
    ),
    Trigger("tenants_invoice", "DELETE", "OLD.state = 'finalized'", "A finalized invoice is kept."),
    Trigger("tenants_invoiceline", "INSERT", _finalized_invoice("NEW"), _LINE_IS_FINAL, _INVOICE),
    Trigger(
        "tenants_invoiceline",
        "UPDATE",
        f"{_finalized_invoice('OLD')} OR {_finalized_invoice('NEW')}",
        _LINE_IS_FINAL,
        _INVOICE,
    ),
    Trigger("tenants_invoiceline", "DELETE", _finalized_invoice("OLD"), _LINE_IS_FINAL, _INVOICE),
    Trigger("tenants_priceversion", "UPDATE", "OLD.published_at IS NOT NULL", _PRICE_IS_FINAL),
    Trigger("tenants_priceversion", "DELETE", "OLD.published_at IS NOT NULL", _PRICE_IS_FINAL),
    Trigger("tenants_priceline", "INSERT", _published_price("NEW"), _PRICE_IS_FINAL, _PRICE),
    Trigger(
        "tenants_priceline",
        "UPDATE",
        f"{_published_price('OLD')} OR {_published_price('NEW')}",
        _PRICE_IS_FINAL,
        _PRICE,
    ),
    Trigger("tenants_priceline", "DELETE", _published_price("OLD"), _PRICE_IS_FINAL, _PRICE),
)


def differences(using: str = "default") -> list[str]:
    """What the database lacks or has otherwise than the registry, a sentence each; empty when they agree."""
    connection = connections[using]
    found = _installed(connection)
    expected = {trigger.name: _expected(connection, trigger) for trigger in REGISTRY}
    missing = [f"The trigger {name} is missing." for name in sorted(expected.keys() - found)]
    unknown = [f"The trigger {name} is not ours." for name in sorted(found.keys() - expected)]
    changed = [
        f"The trigger {name} is not as it should be."
        for name in sorted(expected.keys() & found)
        if found[name] != expected[name]
    ]
    return [*missing, *changed, *unknown]


def install(using: str = "default") -> list[str]:
    """Make the database's triggers those of the registry, for the tables that are there; what was wrong."""
    wrong = differences(using)
    if not wrong:
        return []
    connection = connections[using]
    with transaction.atomic(using=using):
        remove(using)
        with connection.cursor() as cursor:
            tables = set(connection.introspection.table_names(cursor))
            for trigger in REGISTRY:
                if tables.issuperset(trigger.tables):
                    for statement in _statements(connection, trigger):
                        cursor.execute(statement)
    return wrong


def remove(using: str = "default") -> None:
    """Take all of ours out: before a migration on SQLite, and before they are made anew."""
    connection = connections[using]
    found = _installed(connection)
    with connection.cursor() as cursor:
        for name, definition in found.items():
            if connection.vendor == "sqlite":
                cursor.execute(f'DROP TRIGGER IF EXISTS "{name}"')
            else:
                cursor.execute(f'DROP TRIGGER IF EXISTS "{name}" ON "{definition[0]}"')


def before_migrate(plan: Sequence[Any], using: str, **_: Any) -> None:
    """Receives pre_migrate."""
    if plan and connections[using].vendor == "sqlite":
        remove(using)


def after_migrate(using: str, **_: Any) -> None:
    """Receives post_migrate, which also follows the flush of a test database."""
    install(using)


def _expected(connection: BaseDatabaseWrapper, trigger: Trigger) -> tuple[Any, ...]:
    if connection.vendor == "sqlite":
        return trigger.table, trigger.sqlite_sql()
    return trigger.table, _TYPES[trigger.event], "O", trigger.postgres_body()


def _installed(connection: BaseDatabaseWrapper) -> dict[str, tuple[Any, ...]]:
    """By name, in the form of `_expected`."""
    if connection.vendor == "sqlite":
        query = (
            "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger' AND name GLOB %s"
        )
        parameters = [f"{PREFIX}*"]
    else:
        query = (
            "SELECT t.tgname, c.relname, t.tgtype, t.tgenabled::text, p.prosrc FROM pg_trigger t "
            "JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid "
            "WHERE pg_table_is_visible(c.oid) AND starts_with(t.tgname, %s)"
        )
        parameters = [PREFIX]
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return {name: tuple(rest) for name, *rest in cursor.fetchall()}


def _statements(connection: BaseDatabaseWrapper, trigger: Trigger) -> list[str]:
    if connection.vendor == "sqlite":
        return [trigger.sqlite_sql()]
    function = (
        f'CREATE OR REPLACE FUNCTION "{trigger.name}"() RETURNS trigger LANGUAGE plpgsql '
        f"AS $body${trigger.postgres_body()}$body$"
    )
    created = (
        f'CREATE TRIGGER "{trigger.name}" BEFORE {trigger.event} ON "{trigger.table}" '
        f'FOR EACH ROW EXECUTE FUNCTION "{trigger.name}"()'
    )
    return [function, created]
