"""An export goes on without its page, from where a killed process left it, and is gone when it should be."""

from __future__ import annotations

import csv
import gzip
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404

from gateway_project.lib import clock
from tenants.access.access import OPERATOR, Access, access_as
from tenants.audit import chain
from tenants.billing import export
from tenants.deletion import asking as deletion
from tenants.long_work import asking, files, running, usage_export
from tenants.models import AuditEvent, LongTask, TaskPiece, Tenant, UsageRow
from tests.support.usage_rows import built

pytestmark = [pytest.mark.django_db, pytest.mark.persistence]

AT = datetime(2026, 10, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


def calls(tenant: Tenant, count: int, **fields: Any) -> None:
    rows = [built(tenant, AT + timedelta(seconds=n // 2), **fields) for n in range(count)]
    UsageRow.objects.bulk_create(rows)


def ask(who: Access, tenant: Tenant | None, **asked: str) -> LongTask:
    return usage_export.ask(who, tenant, AT, AT + DAY, **asked)


def run() -> None:
    for _ in running.run_tasks():
        pass


def content(who: Access, task: LongTask) -> str:
    task.refresh_from_db()
    return gzip.decompress(b"".join(files.open_file(who, task))).decode()


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_export, "ROWS_AT_ONCE", 3)


@pytest.mark.usefixtures("small_steps")
def test_every_row_is_written_once_however_often_the_process_is_killed(tenant: Tenant):
    calls(tenant, 7, alias="=smart")
    task = ask(OPERATOR, tenant)
    for runner in ("first", "second", "third"):  # each takes two steps, and dies
        for _ in range(2):
            running.take_step(task.pk, runner)
        LongTask.objects.update(lease_until=clock.now() - DAY)
    run()

    lines = list(csv.DictReader(io.StringIO(content(OPERATOR, task))))
    assert sorted(line["id"] for line in lines) == sorted(
        str(pk) for pk in UsageRow.objects.values_list("pk", flat=True)
    )
    assert (task.state, task.done, task.expected) == ("done", 7, 7)
    assert {line["alias"] for line in lines} == {"'=smart"}  # no spreadsheet runs it
    assert task.bytes == sum(len(piece.content) for piece in TaskPiece.objects.all())


@pytest.mark.usefixtures("small_steps")
def test_another_process_does_not_take_what_one_is_working_on(tenant: Tenant):
    calls(tenant, 4)
    task = ask(OPERATOR, tenant)
    for runner in ("first", "first", "second", "second", "second"):
        running.take_step(task.pk, runner)
    task.refresh_from_db()
    assert (task.state, task.done, task.runner) == ("running", 3, "first")


@pytest.mark.usefixtures("small_steps")
def test_what_is_cancelled_writes_nothing_more(tenant: Tenant):
    calls(tenant, 4)
    task = ask(OPERATOR, tenant)
    running.take_step(task.pk, "first")
    running.take_step(task.pk, "first")
    assert TaskPiece.objects.count() == 1
    asking.discard(OPERATOR, task)
    running.take_step(task.pk, "first")
    run()
    task.refresh_from_db()
    assert (task.state, task.bytes, TaskPiece.objects.count()) == ("cancelled", 0, 0)
    with pytest.raises(Http404):
        files.open_file(OPERATOR, task)
    with pytest.raises(ValidationError, match="over"):
        asking.discard(OPERATOR, task)


def test_a_tenants_file_tells_no_costs_and_an_operators_is_not_shown(tenant: Tenant):
    calls(tenant, 1)
    calls(Tenant.objects.create(slug="other", name="Other"), 1)
    viewer = access_as(tenant, "viewer")
    theirs, ours = ask(viewer, tenant, written_as="jsonl"), ask(OPERATOR, tenant)
    run()

    (line,) = map(json.loads, content(viewer, theirs).splitlines())
    assert line["charge_nano"] == 10_000
    assert line["provider"] == "openai"
    assert not {"cost_nano", "cost_version", "unfunded_nano", "spool"} & line.keys()
    with pytest.raises(PermissionDenied):
        files.open_file(viewer, LongTask.objects.get(pk=ours.pk))
    with pytest.raises(PermissionDenied):
        ask(viewer, None)
    # What its people are shown no more, an older file does not tell them either.
    tenant.shows_upstreams = False
    with pytest.raises(PermissionDenied, match="export it again"):
        files.open_file(access_as(tenant, "viewer"), LongTask.objects.get(pk=theirs.pk))


def test_a_file_is_erased_after_a_day_and_with_its_tenant(tenant: Tenant):
    calls(tenant, 1)
    task, everybodys = ask(OPERATOR, tenant), ask(OPERATOR, None)
    run()
    assert TaskPiece.objects.count() == 2
    LongTask.objects.filter(pk=task.pk).update(expires_at=clock.now())
    assert running.is_any_due()
    run()
    assert list(LongTask.objects.values_list("pk", flat=True)) == [everybodys.pk]
    deletion.ask(tenant, OPERATOR, typed_slug="acme")
    assert TaskPiece.objects.count() == 0
    with pytest.raises(ValidationError, match="deleted"):
        ask(OPERATOR, tenant)


def test_files_are_bounded_in_size_and_number(tenant: Tenant, monkeypatch: pytest.MonkeyPatch):
    calls(tenant, 1)
    monkeypatch.setattr(usage_export, "MOST_FILE_BYTES", 100)
    task = ask(OPERATOR, tenant)
    run()
    task.refresh_from_db()
    assert (task.state, task.error, TaskPiece.objects.count()) == ("failed", "too_large", 0)
    viewer = access_as(tenant, "viewer")
    for _ in range(asking.MOST_TASKS):
        ask(viewer, tenant)
    with pytest.raises(ValidationError, match="10 tasks"):
        ask(viewer, tenant)
    ask(OPERATOR, tenant)  # whose own are counted by themselves
    monkeypatch.setattr(asking, "MOST_BYTES", asking.MOST_FILE_BYTES)
    with pytest.raises(ValidationError, match="too much room"):
        ask(OPERATOR, tenant)


def test_a_step_that_fails_is_tried_again_and_at_last_given_up(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
):
    task = ask(OPERATOR, tenant)
    monkeypatch.setattr(export, "FIELDS", ("nothing",))
    for _ in range(running.MOST_FAILURES):
        LongTask.objects.filter(next_at__isnull=False).update(next_at=clock.now())
        run()
    task.refresh_from_db()
    assert (task.state, task.error) == ("failed", "broken")


def test_asking_taking_and_erasing_are_in_the_audit_log(tenant: Tenant):
    calls(tenant, 1)
    task = ask(OPERATOR, tenant)
    run()
    content(OPERATOR, task)
    asking.discard(OPERATOR, task)
    chain.join_pending()
    told = AuditEvent.objects.filter(object_id=str(task.pk)).order_by("sequence")
    assert list(told.values_list("action", "tenant_id")) == [
        ("task.asked", tenant.pk),
        ("usage.exported", tenant.pk),
        ("task.discarded", tenant.pk),
    ]
