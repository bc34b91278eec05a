"""Exports and re-ratings by the management API, by commands and on their pages: one task, the same file."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.urls import reverse

from gateway_project.lib import ids
from tenants.ledger.row_ids import row_id
from tenants.long_work import running
from tenants.models import LongTask, PriceVersion, Tenant, UsageRow
from tenants.prices import publishing
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line
from tests.api.callers import of_member, of_operator
from tests.commands.running import answer, refusal
from tests.console.pages import do, text, url
from tests.console.world import operator, staff
from tests.support.usage_rows import usage

pytestmark = pytest.mark.django_db

AT = datetime(2026, 10, 15, 12, tzinfo=UTC)
OCTOBER = {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"}


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme", created_at=AT - timedelta(days=30))


def price(pico: int) -> PriceVersion:
    lines = [Line("input_fresh", pico), Line("output_visible", 4 * pico)]
    return publishing.set_price(Subject.charge("smart"), lines, "test", AT - timedelta(days=pico))


def call(tenant: Tenant, version: PriceVersion) -> UsageRow:
    return usage(
        tenant,
        AT,
        id=UUID(row_id(ids.request_id(), 0)),
        charge_version=version.pk,
        cost_version=None,
    )


def run() -> None:
    for _ in running.run_tasks():
        pass


def unpacked(content: bytes) -> list[str]:
    return gzip.decompress(content).decode().splitlines()


def test_a_viewer_exports_what_they_see_and_an_operator_what_there_is(
    tenant: Tenant, tmp_path: Path
):
    call(tenant, price(1))
    viewer = of_member("viewer", tenant)
    made = viewer.post("exports", {**OCTOBER, "format": "jsonl"})
    assert (made.status_code, made.json()["state"]) == (201, "queued")
    ours = answer("start_export", "--tenant", "acme", "--month", "2026-10", "--alias", "smart")
    run()

    task = f"tasks/{made.json()['id']}"
    shown = viewer.get(task).json()
    assert (shown["state"], shown["done"], shown["expected"]) == ("done", 1, 1)
    (line,) = unpacked(viewer.get(f"{task}/file").content)
    assert '"charge_nano": 10000' in line
    assert "cost_nano" not in line
    assert [each["id"] for each in viewer.get("tasks").json()["data"]] == [made.json()["id"]]
    assert viewer.get(f"tasks/{ours['id']}").status_code == 404
    assert staff("developer", tenant).get(_page(ours["id"])).status_code in {302, 404}

    path = tmp_path / "file.csv.gz"
    saved = answer("fetch_task", ours["id"], "--output", str(path))
    assert saved["bytes"] == path.stat().st_size
    assert "cost_nano" in unpacked(path.read_bytes())[0]
    assert "cannot be written" in refusal("fetch_task", ours["id"], "--output", str(path))
    assert viewer.post(f"{task}/discard").json()["has_file"] is False
    assert viewer.get(f"{task}/file").status_code == 404
    assert answer("discard_task", ours["id"])["bytes"] == 0
    assert "has no file" in refusal("fetch_task", ours["id"])


def _page(key: str) -> str:
    return reverse("admin:tenants_longtask_change", args=(key,))


@pytest.mark.parametrize("by", ["api", "command", "page"])
def test_a_re_rating_tells_waits_and_is_confirmed(by: str, tenant: Tenant):
    wrong, right = price(2), price(1)
    row = call(tenant, wrong)
    api, person = of_operator(), operator()
    if by == "api":
        asked = {"version": right.pk, "reason": "mistyped", **OCTOBER}
        made = api.post("reratings", asked)
        assert made.status_code == 201, made.content
    elif by == "command":
        answer("start_rerating", str(right.pk), "--month", "2026-10", "--reason", "mistyped")
    else:
        days = {"from": "2026-10-01", "to": "2026-10-31"}
        sent = {"version": right.pk, "reason": "mistyped", **days}
        assert person.post(reverse("admin:rerating"), sent).status_code == 302
    run()

    task = LongTask.objects.get()
    shown = api.get(f"tasks/{task.pk}").json()
    assert (shown["state"], shown["result"]["changed"]) == ("waiting", 1)
    assert (shown["result"]["before_nano"], shown["result"]["after_nano"]) == (10_000, 0)
    page = text(person.get(url(task, "change")))
    assert "1 request would be charged" in page
    if by == "api":
        assert api.post(f"tasks/{task.pk}/confirm").json()["state"] == "queued"
    elif by == "command":
        answer("confirm_task", str(task.pk))
    else:
        assert do(person, task, "confirm").status_code == 302
    run()
    assert "1 request is charged" in text(person.get(url(task, "change")))
    assert UsageRow.objects.filter(corrects=row.pk).count() == 2
    assert api.post(f"tasks/{task.pk}/confirm").status_code == 409


def test_what_is_wrong_is_named_by_its_field(tenant: Tenant):
    api, viewer = of_operator(), of_member("viewer", tenant)
    right = price(1)
    for path, body, field in (
        ("exports", {"format": "xml"}, "format"),
        ("exports", {"start": "yesterday"}, "start"),
        ("exports", {"start": OCTOBER["end"], "end": OCTOBER["start"]}, "start"),
        ("exports", {"alias": 5}, "alias"),
        ("exports", {"aliass": "x"}, "aliass"),
        ("reratings", {"version": "x", "reason": "y"}, "version"),
        ("reratings", {"version": right.pk, "reason": " "}, "reason"),
        ("reratings", {"version": right.pk, "reason": "y", "with_unpriced": 1}, "with_unpriced"),
    ):
        refused: Any = api.post(path, body)
        assert (refused.status_code, list(refused.json()["errors"])) == (400, [field]), body
    assert viewer.post("reratings", {"version": right.pk, "reason": "y"}).status_code == 403
    assert not LongTask.objects.exists()


def test_pages_say_what_is_missing(tenant: Tenant):
    person = operator()
    price(1)
    for name, sent, told in (
        ("exports", {"from": "never", "to": ""}, "Give the first and the last day."),
        ("exports", {"format": "xml"}, "Use csv or jsonl."),
        ("rerating", {"version": "9", "reason": "x"}, "Choose a price."),
    ):
        page = text(person.post(reverse(f"admin:{name}"), sent))
        assert told in page
    member = staff("viewer", tenant, Tenant.objects.create(slug="other", name="Other"))
    assert "Choose at the top" in text(member.get(reverse("admin:exports")))
    assert "Choose a tenant" in text(member.post(reverse("admin:exports"), {}))
