"""Register the database's triggers: what the database itself refuses, on SQLite and on PostgreSQL.

Those that guard history stand here; those between tenants are derived from the models (tenants/walls/), which
are not there yet when this is imported, and are added by the app when it is ready.

SQLite drops a table's triggers when a migration rebuilds it, and refuses to rename a table while another
table's trigger names one that is absent just then. So they are removed before a migration there, and put
back after every one; `differences` says whether the database holds what the registry does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

Event = Literal["INSERT", "UPDATE", "DELETE"]
PREFIX = "tollgate_"
MAX_NAME = 63
# pg_trigger.tgtype: FOR EACH ROW is 1, BEFORE is 2, and then the event.
_TYPES: dict[Event, int] = {"INSERT": 3 | 4, "DELETE": 3 | 8, "UPDATE": 3 | 16}


@dataclass(frozen=True, slots=True)
class Trigger:
    """Refuses `event` on rows of `table` for which `condition` holds; `reads` are further tables it
    needs.

    `subject` tells triggers of one table and event apart. With `columns`, an update is looked at only if it
    names one of them; others cost nothing.
    """

    table: str
    event: Event
    condition: str
    message: str
    reads: tuple[str, ...] = ()
    subject: str = ""
    columns: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        name = f"{PREFIX}{self.table.removeprefix('tenants_')}_{self.event.lower()}"
        return _fit(f"{name}_{self.subject}" if self.subject else name)

    @property
    def tables(self) -> tuple[str, ...]:
        return (self.table, *self.reads)

    @property
    def event_sql(self) -> str:
        if not self.columns:
            return self.event
        names = ", ".join(f'"{column}"' for column in self.columns)
        return f"{self.event} OF {names}"

    def sqlite_sql(self) -> str:
        # The key that SQLite gives to a new row is known only afterwards.
        when = "AFTER" if self.event == "INSERT" else "BEFORE"
        return (
            f'CREATE TRIGGER "{self.name}" {when} {self.event_sql} ON "{self.table}" FOR EACH ROW '
            f"WHEN {self.condition} BEGIN SELECT RAISE(ABORT, '{self.message}'); END"
        )

    def postgres_body(self) -> str:
        row = "OLD" if self.event == "DELETE" else "NEW"
        return (
            f"BEGIN IF {self.condition} THEN RAISE EXCEPTION '{self.message}' "
            f"USING ERRCODE = 'integrity_constraint_violation'; END IF; RETURN {row}; END"
        )


def _fit(name: str) -> str:
    """Return a name that PostgreSQL does not cut."""
    if len(name) <= MAX_NAME:
        return name
    return f"{name[: MAX_NAME - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


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
_APPENDED_LOG = "is only ever added to."
_APPENDED = "is only ever added to; correct it by a further row."
_KEPT_USAGE = (
    "NOT EXISTS (SELECT 1 FROM tenants_retentionhorizon h "
    "WHERE h.\"table\" = 'usage' AND OLD.opened_at < h.before)"
)
# Of a deleted tenant's rows some columns are digested; a further trigger holds the others.
_KEPT_TENANT = (
    "NOT EXISTS (SELECT 1 FROM tenants_tenantdeletion d WHERE d.tenant_id = OLD.tenant_id)"
)
_DELETION = ("tenants_tenantdeletion",)
_INVOICE = ("tenants_invoice",)
_PRICE = ("tenants_priceversion",)
_LINE_IS_FINAL = "A finalized invoice keeps its lines."
_PRICE_IS_FINAL = "A published price never changes; publish a further version."

# All that is hashed, but the number and the hash before it, which are given once.
_OF_EVENT = (
    *("id", "chain", "at", "actor_kind", "actor_id", "actor_name", "address", "reason", "action"),
    *("object_type", "object_id", "object_name", "changes", "details"),
)
_IS_JOINED = (
    "OLD.sequence IS NOT NULL OR coalesce(OLD.tenant_id, 0) <> coalesce(NEW.tenant_id, 0) OR "
    + " OR ".join(f"OLD.{name} <> NEW.{name}" for name in _OF_EVENT)
)
_KEPT_EVENT = (
    "NOT EXISTS (SELECT 1 FROM tenants_auditchain c "
    "WHERE c.chain = OLD.chain AND OLD.sequence <= c.pruned_sequence)"
)
_CHAIN_GOES_BACK = (
    "NEW.chain <> OLD.chain OR NEW.last_sequence < OLD.last_sequence "
    "OR NEW.pruned_sequence < OLD.pruned_sequence OR (NEW.pruned_sequence > OLD.pruned_sequence "
    "AND NOT EXISTS (SELECT 1 FROM tenants_auditcheckpoint p "
    "WHERE p.chain = NEW.chain AND p.sequence = NEW.pruned_sequence))"
)

REGISTRY: tuple[Trigger, ...] = (
    Trigger("tenants_auditevent", "UPDATE", _IS_JOINED, f"The audit log {_APPENDED_LOG}"),
    Trigger(
        "tenants_auditevent",
        "DELETE",
        _KEPT_EVENT,
        "Only events up to a signed checkpoint that pruning has reached may be deleted.",
        ("tenants_auditchain",),
    ),
    Trigger(
        "tenants_auditchain",
        "UPDATE",
        _CHAIN_GOES_BACK,
        "A chain of the audit log goes on, and is pruned up to a checkpoint only.",
        ("tenants_auditcheckpoint",),
    ),
    Trigger("tenants_auditchain", "DELETE", _ALWAYS, "A chain of the audit log is kept."),
    Trigger("tenants_auditcheckpoint", "UPDATE", _ALWAYS, "A checkpoint never changes."),
    Trigger("tenants_auditcheckpoint", "DELETE", _ALWAYS, "A checkpoint is kept."),
    Trigger("tenants_usagerow", "UPDATE", _KEPT_TENANT, f"The ledger {_APPENDED}", _DELETION),
    Trigger(
        "tenants_usagerow",
        "DELETE",
        _KEPT_USAGE,
        "Only usage from before its horizon may be deleted.",
        ("tenants_retentionhorizon",),
    ),
    Trigger(
        "tenants_tenant",
        "UPDATE",
        "NEW.status <> 'suspended' AND EXISTS "
        "(SELECT 1 FROM tenants_tenantdeletion d WHERE d.tenant_id = NEW.id)",
        "A tenant that is deleted stays suspended.",
        _DELETION,
        "deleted",
    ),
    Trigger("tenants_tenantdeletion", "DELETE", _ALWAYS, "A deletion is never undone."),
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


@dataclass(frozen=True, slots=True)
class Guard:
    """Triggers beside those of the registry, by kind of database, and constraints that go with them."""

    triggers: Callable[[str], Sequence[Trigger]]
    differences: Callable[[BaseDatabaseWrapper], list[str]]
    repair: Callable[[BaseDatabaseWrapper], object]


_guards: list[Guard] = []


def add(guard: Guard) -> None:
    """Have this guard looked after, too."""
    _guards.append(guard)


def expected(connection: BaseDatabaseWrapper) -> dict[str, Trigger]:
    """Return every trigger that this database should have, by name."""
    further = [trigger for guard in _guards for trigger in guard.triggers(connection.vendor)]
    return {trigger.name: trigger for trigger in (*REGISTRY, *further)}


def differences(using: str = "default") -> list[str]:
    """Return a sentence for each difference between database and registry; empty when they agree."""
    connection = connections[using]
    wrong = _compare(connection)
    missing = [f"The trigger {name} is missing." for name in wrong.missing]
    unknown = [f"The trigger {name} is not ours." for name in wrong.unknown]
    changed = [f"The trigger {name} is not as it should be." for name in wrong.changed]
    others = [sentence for guard in _guards for sentence in guard.differences(connection)]
    return [*missing, *changed, *unknown, *others]


@dataclass(frozen=True, slots=True)
class _Compared:
    missing: list[str]
    changed: list[str]
    unknown: list[str]


def _compare(connection: BaseDatabaseWrapper) -> _Compared:
    found, wanted = _read_installed(connection), expected(connection)
    return _Compared(
        sorted(wanted.keys() - found),
        sorted(
            name
            for name in wanted.keys() & found
            if found[name] != _expected(connection, wanted[name])
        ),
        sorted(found.keys() - wanted),
    )


def install(using: str = "default") -> list[str]:
    """Make the database's triggers those of the registry, for existing tables; return what was wrong."""
    connection = connections[using]
    wrong = differences(using)
    if wrong:
        with transaction.atomic(using=using):
            _install(connection, _compare(connection))
    for guard in _guards:
        guard.repair(connection)
    return wrong


def _install(connection: BaseDatabaseWrapper, wrong: _Compared) -> None:
    _drop(connection, [*wrong.changed, *wrong.unknown])
    wanted = expected(connection)
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
        for name in [*wrong.missing, *wrong.changed]:
            if tables.issuperset(wanted[name].tables):
                for statement in _statements(connection, wanted[name]):
                    cursor.execute(statement)


def remove(using: str = "default") -> None:
    """Remove all of ours, as before a migration on SQLite."""
    connection = connections[using]
    _drop(connection, list(_read_installed(connection)))


def _drop(connection: BaseDatabaseWrapper, names: Sequence[str]) -> None:
    found = _read_installed(connection)
    with connection.cursor() as cursor:
        for name in names:
            on = "" if connection.vendor == "sqlite" else f' ON "{found[name][0]}"'
            cursor.execute(f'DROP TRIGGER IF EXISTS "{name}"{on}')


def before_migrate(plan: Sequence[Any], using: str, **_: Any) -> None:
    """Receive pre_migrate."""
    if plan and connections[using].vendor == "sqlite":
        remove(using)


def after_migrate(using: str, **_: Any) -> None:
    """Receive post_migrate, which also follows the flush of a test database."""
    install(using)


def _expected(connection: BaseDatabaseWrapper, trigger: Trigger) -> tuple[Any, ...]:
    if connection.vendor == "sqlite":
        return trigger.table, trigger.sqlite_sql()
    columns = sorted(trigger.columns)
    return trigger.table, _TYPES[trigger.event], "O", columns, trigger.postgres_body()


def _read_installed(connection: BaseDatabaseWrapper) -> dict[str, tuple[Any, ...]]:
    """Return the triggers by name, in the form of `_expected`."""
    if connection.vendor == "sqlite":
        query = (
            "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger' AND name GLOB %s"
        )
        parameters = [f"{PREFIX}*"]
    else:
        query = (
            # A partition has copies, which count as one with what they were made from.
            "SELECT t.tgname, c.relname, t.tgtype, coalesce((SELECT min(k.tgenabled::text) FROM pg_trigger k "
            "WHERE k.tgparentid = t.oid AND k.tgenabled <> t.tgenabled), t.tgenabled::text), "
            "ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = t.tgrelid "
            "AND a.attnum = ANY (t.tgattr) ORDER BY 1), p.prosrc "
            "FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid "
            "WHERE pg_table_is_visible(c.oid) AND starts_with(t.tgname, %s) AND t.tgparentid = 0"
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
        f'CREATE TRIGGER "{trigger.name}" BEFORE {trigger.event_sql} ON "{trigger.table}" '
        f'FOR EACH ROW EXECUTE FUNCTION "{trigger.name}"()'
    )
    return [function, created]
