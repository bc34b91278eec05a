"""Have the database hold what a deletion may change: of the ledger's rows only what is digested."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from tenants.deletion import plan
from tenants.models import UsageRow
from tenants.triggers import Guard, Trigger


def triggers(vendor: str) -> tuple[Trigger, ...]:
    """Return the trigger that keeps all other columns; that of the registry refuses rows of other tenants."""
    table = UsageRow._meta.db_table
    digested = plan.DIGESTED[UsageRow._meta.label]
    message = "Of the ledger only what identifies people may be digested."
    return (Trigger(table, "UPDATE", _changes(vendor, digested), message, subject="facts"),)


def _changes(vendor: str, digested: tuple[str, ...]) -> str:
    if vendor == "postgresql":
        names = ", ".join(f"'{name}'" for name in digested)
        return f"to_jsonb(OLD) - ARRAY[{names}] <> to_jsonb(NEW) - ARRAY[{names}]"
    columns = [field.column for field in UsageRow._meta.concrete_fields]
    facts = [column for column in columns if column not in digested]
    return " OR ".join(f'OLD."{column}" IS NOT NEW."{column}"' for column in facts)


def _none(connection: BaseDatabaseWrapper) -> list[str]:
    return []


GUARD = Guard(triggers, _none, _none)
