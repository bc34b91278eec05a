"""GET /v1/usage: a tenant's own totals, exact, in pages; what is wrong is named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tenants.billing import rollups
from tenants.models import ApiKey
from tests.plugins.cases import cases
from tests.support import rows
from tests.support.client import client_of
from tests.support.live import LiveGateway
from tests.support.rows import Customer
from tests.support.usage_rows import AT, usage

SPAN = {"start": "2026-10-15", "end": "2026-10-17T00:00:00Z"}
DAYS = {**SPAN, "group_by": "day"}


def asked(gateway: LiveGateway, customer: Customer, prefix: str = "/v1", **query: str) -> Any:
    with client_of(gateway, customer, prefix) as client:
        return client.get("/usage", params=query)


@pytest.mark.persistence
def test_it_tells_totals_by_day_and_nothing_of_what_they_cost_us(gateway, acme):
    usage(acme.tenant)
    usage(acme.tenant, AT + timedelta(days=1))
    rollups.recompute_dirty(10)
    usage(acme.tenant)
    answer = asked(gateway, acme, **DAYS)
    assert answer.status_code == 200
    body = answer.json()
    day = int(datetime(2026, 10, 15, tzinfo=UTC).timestamp())
    assert body["data"][0] == {
        "object": "usage.total",
        "id": str(day),
        "day": day,
        "requests": 2,
        "calls": 2,
        "failed": 0,
        "absorbed": 0,
        "estimated": 0,
        "unpriced": 0,
        "hits": 0,
        "input_fresh": 40,
        "input_audio": 0,
        "cache_read": 0,
        "cache_write": 0,
        "cache_write_long": 0,
        "output_visible": 20,
        "output_audio": 0,
        "output_reasoning": 0,
        "charge_nano": 20_000,
        "saved_nano": 0,
    }
    assert [entry["calls"] for entry in body["data"]] == [2, 1]
    assert "cost" not in answer.text
    assert asked(gateway, acme, "/openai/v1", **DAYS).json() == body


@pytest.mark.persistence
def test_a_request_counts_once_and_the_amounts_of_its_calls_add_up(gateway, acme):
    legs = {"summary": 0, "responses": 1}
    for route, leg in legs.items():
        usage(acme.tenant, route=route, leg=leg, upstream_model=f"gpt-{leg}")
    usage(acme.tenant, status="correction", leg=0x1000, charges={"output_visible": -3_000})
    for summed in (False, True):
        if summed:
            rollups.recompute_dirty(10)
        (total,) = asked(gateway, acme, **SPAN).json()["data"]
        assert (total["requests"], total["calls"], total["charge_nano"]) == (1, 2, 17_000)
        by_model = asked(gateway, acme, group_by="model", **SPAN).json()["data"]
        assert sum(entry["requests"] for entry in by_model) == 1


@pytest.mark.persistence
@cases(
    ("group_by", "group"),
    [("key", "key0000001"), ("alias", "smart"), ("model", "gpt-5"), ("hour", 1_792_065_600 + 0)],
)
def test_it_groups_by_what_is_asked_for(gateway, acme, group_by: str, group: object):
    usage(acme.tenant)
    (entry,) = asked(gateway, acme, group_by=group_by, **SPAN).json()["data"]
    expected = int(AT.replace(minute=0).timestamp()) if group_by == "hour" else group
    assert entry[group_by] == expected


def test_it_never_tells_of_another_tenant(gateway, acme):
    other = rows.customer("other")
    usage(other.tenant)
    rollups.recompute_dirty(10)
    usage(other.tenant)
    assert asked(gateway, acme, **SPAN).json()["data"] == []


@pytest.mark.persistence
def test_pages_follow_one_another(gateway, acme):
    for alias in ("a", "b", "c"):
        usage(acme.tenant, alias=alias)
    first = asked(gateway, acme, group_by="alias", limit="2", **SPAN).json()
    assert ([e["id"] for e in first["data"]], first["has_more"]) == (["a", "b"], True)
    rest = asked(gateway, acme, group_by="alias", limit="2", after=first["last_id"], **SPAN).json()
    assert ([e["id"] for e in rest["data"]], rest["has_more"]) == (["c"], False)
    down = asked(gateway, acme, group_by="alias", order="desc", **SPAN).json()
    assert [e["id"] for e in down["data"]] == ["c", "b", "a"]


@pytest.mark.persistence
def test_instants_may_be_seconds_and_dates_are_of_the_tenants_zone(gateway, acme):
    acme.tenant.time_zone = "Asia/Tokyo"
    acme.tenant.save()
    usage(acme.tenant, datetime(2026, 10, 14, 15, tzinfo=UTC))
    usage(acme.tenant, datetime(2026, 10, 15, 15, tzinfo=UTC))
    tokyo = {"start": "2026-10-15", "end": "2026-10-16"}
    assert [e["calls"] for e in asked(gateway, acme, **tokyo).json()["data"]] == [1]
    seconds = int(datetime(2026, 10, 14, 15, tzinfo=UTC).timestamp())
    span = {"start": str(seconds), "end": str(seconds + 1)}
    assert [e["calls"] for e in asked(gateway, acme, **span).json()["data"]] == [1]


@cases(
    ("query", "param"),
    [
        ({"group_by": "tenant"}, "group_by"),
        ({"start": "yesterday"}, "start"),
        ({"end": "2026-13-01"}, "end"),
        ({"start": "99999999999"}, "start"),
        ({"start": "2026-10-02", "end": "2026-10-01"}, "start"),
        ({"start": "2024-01-01", "end": "2026-01-01"}, "start"),
        ({"start": "2026-01-01", "end": "2026-03-01", "group_by": "hour"}, "start"),
        ({"limit": "0"}, "limit"),
        ({"order": "up"}, "order"),
        ({"after": "nothing"}, "after"),
    ],
)
def test_what_is_wrong_is_named(gateway, acme, query: dict[str, str], param: str):
    answer = asked(gateway, acme, **query)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_key_without_the_scope_is_refused(gateway, acme):
    ApiKey.objects.filter(pk=acme.key.pk).update(scopes=["generate"])
    assert asked(gateway, acme).status_code == 403
    assert httpx.get(f"{gateway.root_url}/v1/usage").status_code == 401


def test_a_tenant_that_is_shown_aliases_only_is_not_told_what_answered(gateway, acme):
    usage(acme.tenant)
    acme.tenant.shows_upstreams = False
    acme.tenant.save()
    refused = asked(gateway, acme, group_by="model", **SPAN)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "group_by")
    assert asked(gateway, acme, group_by="alias", **SPAN).status_code == 200
