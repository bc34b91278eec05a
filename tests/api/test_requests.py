"""The log of requests over the management API: the same requests as the console shows, and no others."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from gateway_project.lib import clock
from tenants.ledger import row_ids
from tenants.models import Tenant
from tests.api.callers import of_member, of_operator
from tests.console.world import CANARY, World
from tests.support.logged import call, refusal

pytestmark = pytest.mark.django_db


def test_requests_are_listed_page_by_page_and_each_is_told_in_whole(world: World):
    tenant, now = world.ours.tenant, clock.now()
    rows: list[Any] = [
        call(tenant, now - timedelta(minutes=number + 1), alias="mine") for number in range(4)
    ]
    rows.append(refusal(tenant, now - timedelta(minutes=9), model="mine"))
    viewer = of_member("viewer", tenant)

    found: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        query = {"alias": "mine", "limit": 2} | ({"cursor": cursor} if cursor else {})
        page = viewer.get("requests?" + urlencode(query)).json()
        found += page["data"]
        cursor = page["next_cursor"]
    assert [each["id"] for each in found] == [row_ids.request_id_of(row.pk) for row in rows]
    assert {each["cost_nano"] for each in found[:4]} == {None}
    assert (found[-1]["status"], found[-1]["message"]) == ("refused", rows[-1].message)
    whole = viewer.get(f"requests/{found[0]['id']}").json()
    assert whole["summary"] == found[0]
    assert whole["attempts"][0]["usage_row"] == str(rows[0].pk)
    assert whole["attempts"][0]["cost_nano"] is None
    assert (
        of_operator().get(f"requests/{found[0]['id']}").json()["attempts"][0]["cost_nano"] == 5000
    )


def test_nobody_reads_requests_of_others(world: World):
    theirs = world.theirs.tenant
    now = clock.now()
    hers: list[Any] = [
        call(theirs, now - timedelta(minutes=1), alias=CANARY),
        refusal(theirs, now - timedelta(minutes=1), message=CANARY),
        refusal(None, now - timedelta(minutes=1)),
    ]
    for role in ("owner", "viewer", "billing"):
        mine = of_member(role, world.ours.tenant)
        assert CANARY not in mine.get("requests").content.decode()
        for row in hers:
            assert mine.get(f"requests/{row_ids.request_id_of(row.pk)}").status_code == 404
        for odd in (theirs.pk, 987654321, "x"):
            assert mine.get(f"requests?tenant={odd}").status_code == 404
    narrow = of_member("admin", world.ours.tenant, "keys.view")
    assert narrow.get("requests").status_code == 403
    assert narrow.get(f"requests/{row_ids.request_id_of(hers[0].pk)}").status_code == 403
    assert len(of_operator().get(f"requests?tenant={theirs.pk}").json()["data"]) >= 2


def test_names_of_upstreams_are_null_where_they_are_not_shown(world: World):
    tenant = world.ours.tenant
    Tenant.objects.filter(pk=tenant.pk).update(shows_upstreams=False)
    row = call(tenant, clock.now() - timedelta(minutes=1), provider="hidden", alias="mine")
    owner = of_member("owner", tenant)
    (found,) = owner.get("requests?alias=mine").json()["data"]
    assert (found["provider"], found["upstream_model"]) == (None, None)
    assert owner.get("requests?provider=hidden").json()["data"] == []
    whole = owner.get(f"requests/{row_ids.request_id_of(row.pk)}")
    assert "hidden" not in whole.content.decode()


def test_what_cannot_be_asked_for_is_named(world: World):
    operator = of_operator()
    for query in (
        "more=1", "cursor=x", "cursor=1--" + "0" * 30 + "1", "limit=0", "limit=201", "limit=x",
        "status=nothing", "source=x",
        "since=2020", "since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
        "since=2020-01-01T00:00:00Z", "alias=%00", "code=" + "a" * 301,
    ):  # fmt: skip
        answer = operator.get(f"requests?{query}")
        assert answer.status_code == 400, query
        assert query.partition("=")[0] in answer.json()["errors"], query
    for odd in ("x", "req_", "req_" + "g" * 32, "req_" + "0" * 32):
        assert operator.get(f"requests/{odd}").status_code == 404
