"""A price that came too late, or was wrong, is made good for calls of the past, once it is confirmed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Sum

from gateway_project.lib import clock, ids
from routing import rerating
from tenants.access.access import OPERATOR, access_as
from tenants.billing import rollups, selfcheck
from tenants.ledger import corrections
from tenants.ledger.row_ids import row_id
from tenants.long_work import asking, running
from tenants.models import Budget, LongTask, PriceVersion, Tenant, UsageDay, UsageRow
from tenants.prices import publishing
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line
from tenants.token_classes import Usage
from tests.support import rows as routes
from tests.support.usage_rows import usage

pytestmark = [pytest.mark.django_db, pytest.mark.persistence]

AT = datetime(2026, 10, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def price(pico: int, effective_from: datetime, tenant: Tenant | None = None) -> PriceVersion:
    lines = [Line("input_fresh", pico), Line("output_visible", 4 * pico)]
    return publishing.set_price(Subject.charge("smart", tenant), lines, "test", effective_from)


@pytest.fixture
def tenant() -> Tenant:
    lines = [Line("input_fresh", 1), Line("output_visible", 1)]
    publishing.set_price(Subject.cost("openai", "gpt-5"), lines, "test", AT - DAY)
    return Tenant.objects.create(slug="acme", name="Acme", created_at=AT - DAY)


@pytest.fixture
def wrong() -> PriceVersion:
    return price(1_000_000_000, AT - DAY)  # a thousand times too dear


@pytest.fixture
def right(wrong: PriceVersion) -> PriceVersion:
    return price(1_000_000, AT + DAY)


def call(tenant: Tenant, version: PriceVersion | None, **fields: Any) -> UsageRow:
    """20 tokens in and 10 out: 60 µ$ at the wrong price's thousandth."""
    charges = {} if version is None else {"input_fresh": 20_000_000, "output_visible": 40_000_000}
    said = {
        "id": UUID(row_id(ids.request_id(), 0)),
        "charges": charges,
        "charge_version": None if version is None else version.pk,
        "cost_version": PriceVersion.objects.get(book="cost").pk,
    }
    return usage(tenant, AT, **{**said, **fields})


def ask(version: PriceVersion, tenant: Tenant | None = None, **asked: Any) -> LongTask:
    return rerating.ask(OPERATOR, version, tenant, AT - DAY, AT + DAY, reason="mistyped", **asked)


def run(task: LongTask) -> LongTask:
    for _ in running.run_tasks():
        pass
    task.refresh_from_db()
    return task


def charge_of(row: UsageRow) -> int:
    told = UsageRow.objects.filter(pk=row.pk) | UsageRow.objects.filter(corrects=row.pk)
    total: int = told.aggregate(of=Sum("charge_nano"))["of"]
    return total


def test_it_tells_what_would_change_and_changes_it_once_it_is_confirmed(
    tenant: Tenant, right: PriceVersion, wrong: PriceVersion, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rerating, "CALLS_AT_ONCE", 2)
    budget = Budget.objects.create(tenant=tenant, name="b", amount_nano=10**12, created_at=AT - DAY)
    window = budget.windows.create(starts_at=AT - DAY, ends_at=AT + DAY, spent_nano=180_000_000)
    made = [call(tenant, wrong) for _ in range(3)]
    task = run(ask(right))
    assert (task.state, task.done, task.expected) == ("waiting", 3, 3)
    assert task.result["changed"] == 3
    assert (task.result["before_nano"], task.result["after_nano"]) == (180_000_000, 180_000)
    assert not UsageRow.objects.filter(status="correction").exists()

    asking.confirm(OPERATOR, task)
    running.take_step(task.pk, "killed")  # and never goes on
    LongTask.objects.update(lease_until=clock.now() - DAY)
    run(task)
    assert (task.state, task.done) == ("done", 3)
    assert (task.result["written"], task.result["written_after_nano"]) == (3, 180_000)
    assert [charge_of(row) for row in made] == [60_000] * 3
    window.refresh_from_db()
    assert window.spent_nano == 180_000
    rollups.recompute_dirty()
    names = ("charge_nano", "calls", "input_fresh", "cost_nano")
    assert list(UsageDay.objects.values_list(*names)) == [(180_000, 3, 60, 90_000_000)]
    assert selfcheck.examine() == []
    with pytest.raises(ValidationError, match="does not wait"):
        asking.confirm(OPERATOR, task)

    # To do the same again changes nothing, and what is corrected later is charged by the new price.
    assert run(ask(right)).state == "done"
    corrections.correct(made[0].pk, Usage(input_fresh=10), reason="fewer", actor="ada")
    assert charge_of(made[0]) == 10_000
    stated = UsageRow.objects.filter(corrects=made[0].pk).latest("pk")
    assert (stated.charge_version, stated.reason, stated.actor) == (right.pk, "fewer", "ada")


def test_only_calls_that_the_price_is_for_are_charged_by_it(
    tenant: Tenant, right: PriceVersion, wrong: PriceVersion
):
    other = Tenant.objects.create(slug="other", name="Other", created_at=AT - DAY)
    special = price(7, AT - DAY, other)
    own = Tenant.objects.create(slug="own", name="Own", created_at=AT - DAY)
    provider = routes.provider("chat", "https://own.example/v1", name="own", tenant=own)
    routes.alias("smart", (provider, "m"), tenant=own)
    at_cost = {"charge_version": PriceVersion.objects.get(book="cost").pk}
    changed = [call(tenant, wrong), call(tenant, None, charges={"input_fresh": 5}, **at_cost)]
    stays = [
        call(other, special),
        call(own, None),
        call(tenant, wrong, alias="another"),
        call(tenant, None),  # unpriced, which nobody asked for
    ]
    left = [
        call(tenant, wrong, cache_outcome="hit"),
        call(tenant, wrong, unfunded_nano=1),
        call(tenant, wrong, status="failed", charges={}),
    ]
    task = run(ask(right))
    assert (task.result["changed"], task.result["left"]) == (2, len(left))
    asking.confirm(OPERATOR, task)
    run(task)
    assert {charge_of(row) for row in changed} == {60_000}
    touched = set(UsageRow.objects.filter(status="correction").values_list("corrects", flat=True))
    assert touched == {row.pk for row in changed}

    task = run(ask(right, tenant, with_unpriced=True))
    told = (task.result[name] for name in ("changed", "before_nano", "after_nano"))
    assert tuple(told) == (1, 0, 60_000)
    asking.confirm(OPERATOR, task)
    run(task)
    assert charge_of(stays[3]) == 60_000


def test_only_operators_may_ask_and_confirm_and_only_with_a_published_charge_and_a_reason(
    tenant: Tenant, right: PriceVersion
):
    owner = access_as(tenant, "owner")
    with pytest.raises(PermissionDenied):
        rerating.ask(owner, right, tenant, AT, AT + DAY, reason="cheaper")
    lines = [Line("input_fresh", 1), Line("output_visible", 1)]
    draft = publishing.draft(Subject.charge("smart"), lines, AT + 9 * DAY)
    for version in (draft, PriceVersion.objects.get(book="cost")):
        with pytest.raises(ValidationError, match="published price"):
            ask(version)
    with pytest.raises(ValidationError, match="another tenant's"):
        ask(price(1, AT, Tenant.objects.create(slug="other", name="Other")), tenant)
    with pytest.raises(ValidationError, match="Give a reason"):
        rerating.ask(OPERATOR, right, tenant, AT, AT + DAY, reason=" ")
    call(tenant, None)
    task = run(ask(right, with_unpriced=True))
    with pytest.raises(PermissionDenied):
        asking.confirm(owner, task)
    with pytest.raises(PermissionDenied):
        asking.discard(owner, task)
