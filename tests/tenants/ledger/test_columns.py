"""Rows go past Django's preparation of values, and come out as Django would have written them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.db.models import Model

from gateway_project.lib import ids
from tenants.ledger import columns
from tenants.models import Tenant, UsageRow
from tests.support import usage_rows

pytestmark = [pytest.mark.django_db, pytest.mark.persistence]

AT = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
ODD: list[dict[str, Any]] = [
    {},
    {"tags": {"team": "ä", "empty": ""}, "end_user": "Zoë", "streamed": True},
    {"key_id": 7, "ttft_ms": 0, "corrects": ids.uuid7(), "reason": "r", "actor": "a"},
    {"charge_version": None, "cost_version": None, "usage_anomaly": True, "websocket": True},
]


def stored(row: Model) -> list[Any]:
    """The row as the database holds it, but for its key."""
    names = [str(field.column) for field in row._meta.concrete_fields if not field.primary_key]
    key = row._meta.pk.get_db_prep_value(row.pk, connection)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(names)} FROM {row._meta.db_table} WHERE id = %s", [key])
        return list(cursor.fetchone())


def test_a_row_is_stored_as_its_model_would_store_it():
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    for fields in ODD:
        saved = usage_rows.usage(tenant, AT, marked=False, spool="s", recorded_at=AT, **fields)
        values = {f.attname: getattr(saved, f.attname) for f in saved._meta.concrete_fields}
        values["id"] = ids.uuid7()
        common = {name: values.pop(name) for name in ("spool", "recorded_at")}
        columns.insert([values], common)
        assert stored(UsageRow.objects.get(pk=values["id"])) == stored(saved), fields


def test_text_is_cut_to_its_column_and_loses_its_nul():
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    built = usage_rows.built(tenant, AT, error_code="a\0" + "b" * 300)
    values = {f.attname: getattr(built, f.attname) for f in built._meta.concrete_fields}
    columns.insert([values], {})
    assert UsageRow.objects.get().error_code == "a" + "b" * 99
