"""Budgets that count the list price of calls with the tenant's own credential, and not the fee for them.
The truth is the sandbox's own record of the tokens it generated."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import structs

from gateway_project.lib import clock
from gateway_project.lib.secret import Secret
from routing import credentials
from routing.models import Credential, Provider
from tenants.ledger import corrections, records
from tenants.ledger.ingest import ingest_all
from tenants.ledger.open_calls import OpenCall, abandoned
from tenants.ledger.records import BudgetShare, Noted, Opened
from tenants.ledger.spool import Spool
from tenants.models import Budget, BudgetLease, UsageRow
from tenants.prices import publishing
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line, terms
from tenants.token_classes import Usage
from tests.plugins.tiers import sampled
from tests.responses_api.accounting.conftest import (
    DOLLAR,
    INPUT_PICO,
    OUTPUT_PICO,
    Rows,
    budget,
    offer,
)
from tests.responses_api.accounting.test_hard_budgets import (
    ask_all,
    body,
    random_call,
    upstream_cost,
)
from tests.support import ledger, rows
from tests.support.live import LiveGateway
from tests.support.rows import Customer

pytestmark = pytest.mark.persistence

Post = Callable[..., httpx.Response]
CENT = DOLLAR // 100
FEE_PICO = 100_000


@pytest.fixture
def owner(gateway: LiveGateway, buyer: Customer) -> Customer:
    """Calls the priced models with credentials of its own."""
    for protocol in rows.PROTOCOLS:
        offer(f"good-{protocol}")
    Provider.objects.update(auth_kind="bearer")
    for provider in Provider.objects.all():
        credentials.create(provider, Secret("theirs"), tenant=buyer.tenant)
    return buyer


def fee(name: str, pico: int = FEE_PICO) -> None:
    lines = [Line("input_fresh", pico), Line("output_visible", pico)]
    publishing.set_price(Subject.charge(name), lines, "test", clock.now())


def give(gateway: LiveGateway, of: Customer, amount_nano: int, **fields: Any) -> Budget:
    made = budget(of, amount_nano, **fields)
    gateway.call(gateway.worker.forget)
    return made


def spent(of: Budget) -> int:
    return sum(of.windows.values_list("spent_nano", flat=True))


def listed(row: UsageRow) -> int:
    """Return what the row comes to by the list prices, in nano-dollars."""
    return (row.input_fresh * INPUT_PICO + row.output_visible * OUTPUT_PICO) // 1000


def assert_nothing_is_held(gateway: LiveGateway) -> None:
    gateway.idle()
    for lease in gateway.worker.services.budgets:
        assert lease.held == 0


def test_each_budget_counts_what_it_says_and_only_the_fee_is_charged(
    gateway: LiveGateway, post: Post, booked: Rows, owner: Customer
) -> None:
    fee("good-chat")
    by_fee = give(gateway, owner, DOLLAR)
    by_list = give(gateway, owner, DOLLAR, counts_list_price=True, api_key=owner.key)
    told = give(gateway, owner, DOLLAR, counts_list_price=True, mode="warn")
    for stream in (False, True):
        assert post("chat", "good-chat", stream=stream).status_code == 200
    found = booked()
    charged = sum(row.charge_nano for row in found)
    at_list = sum(row.list_nano for row in found)
    assert [row.list_nano for row in found] == [listed(row) for row in found]
    assert {row.cost_nano for row in found} == {0}
    assert 0 < charged < at_list
    assert (spent(by_fee), spent(by_list), spent(told)) == (charged, at_list, at_list)
    assert_nothing_is_held(gateway)


def test_a_list_budget_counts_the_charge_of_every_other_call(
    gateway: LiveGateway, post: Post, booked: Rows, owner: Customer
) -> None:
    """The platform's credential; and a provider of the tenant's own, whose prices no operator lists."""
    made = give(gateway, owner, DOLLAR, counts_list_price=True)
    Credential.objects.all().delete()
    for provider in Provider.objects.all():
        credentials.create(provider, Secret("ours"))
    gateway.call(gateway.worker.forget)
    assert post("chat", "good-chat").status_code == 200
    (ours,) = booked()
    assert spent(made) == ours.charge_nano > 0
    own = rows.provider("chat", gateway.sandbox.base_url, name="own", tenant=owner.tenant)
    rows.alias("mine", (own, "good"), tenant=owner.tenant)
    for pico in (None, FEE_PICO):
        if pico is not None:
            fee("*", pico)
        gateway.call(gateway.worker.forget)
        assert post("chat", "mine").status_code == 200
    _, free, with_fee = booked()
    assert (free.charge_nano, free.list_version, free.list_nano) == (0, None, 0)
    assert with_fee.charge_nano > 0
    assert spent(made) == ours.charge_nano + with_fee.charge_nano


def test_a_call_whose_list_price_nobody_knows_is_refused_by_a_hard_budget_only(
    gateway: LiveGateway, post: Post, booked: Rows, owner: Customer
) -> None:
    rows.alias("unlisted", (Provider.objects.get(name="sandbox-chat"), "sandbox-1"))
    fee("unlisted")
    told = give(gateway, owner, DOLLAR, counts_list_price=True, mode="warn")
    assert post("chat", "unlisted").status_code == 200
    (row,) = booked()
    assert (spent(told), row.list_version) == (row.charge_nano, None)
    give(gateway, owner, DOLLAR, counts_list_price=True)
    answer = post("chat", "unlisted")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "model_not_priced")
    assert len(gateway.sandbox.calls) == 1


@pytest.mark.parametrize("first", ["fee", "list"])
def test_whichever_budget_ends_first_ends_the_calls_and_the_other_gets_its_hold_back(
    gateway: LiveGateway, post: Post, booked: Rows, owner: Customer, first: str
) -> None:
    fee("good-chat", OUTPUT_PICO)
    amounts = {"fee": DOLLAR, "list": DOLLAR, first: CENT // 10}
    made = {
        kind: give(gateway, owner, amount, counts_list_price=kind == "list")
        for kind, amount in amounts.items()
    }
    Budget.objects.filter(pk=made[first].pk).update(name="the small one")
    gateway.call(gateway.worker.forget)
    answers = [post("chat", "good-chat", "[chunks=60]") for _ in range(6)]
    statuses = [answer.status_code for answer in answers]
    assert (statuses[0], statuses[-1]) == (200, 429)
    error = answers[-1].json()["error"]
    assert error["code"] == "insufficient_quota"
    assert "the small one" in error["message"]
    booked()
    assert 0 < spent(made[first]) <= CENT // 10
    assert_nothing_is_held(gateway)


@pytest.mark.long
@pytest.mark.parametrize("seed", sampled(range(2), default=1, ci=1))
def test_whatever_is_asked_at_once_costs_no_more_by_list_price_than_the_budget(
    gateway: LiveGateway, booked: Rows, owner: Customer, seed: int
) -> None:
    chance = random.Random(seed)
    amount = (2, 20)[seed] * CENT
    for protocol in rows.PROTOCOLS:
        fee(f"good-{protocol}", chance.choice((1, FEE_PICO, 3 * OUTPUT_PICO)))
    by_fee = give(gateway, owner, 20 * CENT)
    by_list = give(gateway, owner, amount, counts_list_price=True, api_key=owner.key)
    answers = ask_all(gateway, owner, [random_call(chance) for _ in range(48)])
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) <= {200, 429}, statuses
    assert statuses[200]
    found = booked()
    assert upstream_cost(gateway) <= amount
    assert spent(by_list) == sum(row.list_nano for row in found) == upstream_cost(gateway)
    assert spent(by_fee) == sum(row.charge_nano for row in found) <= 20 * CENT
    assert {row.unfunded_nano for row in found} == {0}
    assert_nothing_is_held(gateway)


def test_an_upstream_beyond_its_limit_overruns_no_list_budget(
    gateway: LiveGateway, booked: Rows, owner: Customer
) -> None:
    """Nothing is charged and no budget counts the fee: what ends the stream is the list budget alone."""
    made = give(gateway, owner, CENT, counts_list_price=True)
    asked = [body("chat", "chat", "[unlimited][chunks=9000]", stream=True) for _ in range(3)]
    ask_all(gateway, owner, asked)
    assert {row.charge_nano for row in booked()} == {0}
    assert 0 < spent(made) <= CENT < upstream_cost(gateway)


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_a_call_that_came_to_nothing_counts_by_its_list_price(
    gateway: LiveGateway, post: Post, booked: Rows, owner: Customer, stream: bool
) -> None:
    made = give(gateway, owner, DOLLAR, counts_list_price=True)
    told = give(gateway, owner, DOLLAR, counts_list_price=True, mode="warn")
    offer("silence-chat")
    gateway.call(gateway.worker.forget)
    with gateway.time_runs_out():
        assert post("chat", "silence-chat", "x" * 400, stream=stream).status_code == 504
    (row,) = booked()
    assert (row.status, row.charge_nano, row.unfunded_nano) == ("failed", 0, 0)
    assert spent(made) == spent(told) == row.list_nano
    # Nobody knows how much was written of an answer that is not streamed: all that was held counts.
    assert row.list_nano == listed(row) > 0 if stream else row.list_nano > listed(row) > 0


def test_a_correction_moves_each_budget_by_what_it_counts(
    gateway: LiveGateway, post: Post, booked: Rows, owner: Customer
) -> None:
    fee("good-chat")
    by_fee = give(gateway, owner, DOLLAR)
    by_list = give(gateway, owner, DOLLAR, counts_list_price=True)
    assert post("chat", "good-chat").status_code == 200
    (row,) = booked()
    right = Usage(input_fresh=1_000, output_visible=2_000)
    wanted = (1_000 * INPUT_PICO + 2_000 * OUTPUT_PICO) // 1000
    for usage, at_fee, at_list in ((right, 3_000 * FEE_PICO // 1000, wanted), (None, 0, 0)):
        corrections.correct(row.pk, usage, reason="the provider's bill", actor="ada")
        assert (spent(by_fee), spent(by_list)) == (at_fee, at_list)
    corrected = UsageRow.objects.filter(corrects=row.pk)
    assert row.list_nano + sum(corrected.values_list("list_nano", flat=True)) == 0


# A worker that dies


def opening(**fields: Any) -> Opened:
    return Opened(
        id="0" * 32, leg=0, at_ms=0, tenant_id=1, tenant="buyer", key_id=1, key="k", route="chat", alias="a",
        provider="p", upstream_model="m", input_estimate=70, service_tier="flex", charge_version=1,
        is_own=True, held_nano=10**9, list_version=2, list_held_nano=10**6, **fields,
    )  # fmt: skip


def by(version: int, **picos: int) -> Any:
    lines = [
        Line(name, pico, tier)
        for tier, pico in picos.items()
        for name in ("input_fresh", "output_visible")
    ]
    return terms(version, 0.0, lines)


def test_a_call_whose_worker_died_takes_no_more_of_a_list_budget_than_was_held() -> None:
    """The call is priced in the tier that is dearer by fee and list price together."""
    versions = {1: by(1, default=1_000), 2: by(2, default=10_000_000, flex=5_000_000)}
    died = abandoned(OpenCall(opening(), 1, 0), versions.get)
    assert (died.spent_nano, died.list_nano) == (70, 700_000)
    assert died.values["service_tier"] == "default"
    assert (died.values["list_version"], died.values["list_nano"]) == (2, 700_000)
    noted = Noted("0" * 32, 500, 9, 10**9, None, 2 * 10**6)
    died = abandoned(OpenCall(opening(), 1, 0, noted), versions.get)
    assert (died.spent_nano, died.list_nano) == (570, 2 * 10**6)


def test_what_a_dead_worker_held_of_a_list_budget_is_spent_or_free_again(
    gateway: LiveGateway, post: Post, owner: Customer, tmp_path: Path
) -> None:
    """A real call's record without its end, as a kill leaves it, and the lease of its process."""
    fee("good-chat")
    by_fee = give(gateway, owner, DOLLAR)
    by_list = give(gateway, owner, DOLLAR, counts_list_price=True)
    assert post("chat", "good-chat", stream=True).status_code == 200
    gateway.idle()
    *_, begun = (one for one in ledger.records(gateway) if isinstance(one, Opened))
    held, list_held = begun.held_nano or 0, begun.list_held_nano or 0
    assert 0 < held < list_held
    spool = Spool(tmp_path)
    begun = structs.replace(  # in periods of which the living worker holds nothing
        begun,
        budgets=tuple(structs.replace(share, starts_at=1) for share in begun.budgets),
        list_budgets=tuple(structs.replace(share, starts_at=1) for share in begun.list_budgets),
    )
    windows = {}
    for made, shares, nano in (
        (by_fee, begun.budgets, held),
        (by_list, begun.list_budgets, list_held),
    ):
        assert [share.budget_id for share in shares] == [made.pk]
        starts_at = datetime.fromtimestamp(1, UTC)
        windows[made] = made.windows.create(starts_at=starts_at, reserved_nano=nano)
        windows[made].leases.create(spool=spool.name, granted_nano=nano)
    spool.append(begun)
    spool.close()
    assert ingest_all(tmp_path).abandoned == 1
    (row,) = UsageRow.objects.filter(status="abandoned")
    assert row.list_nano == row.input_fresh * INPUT_PICO // 1000 > row.charge_nano > 0
    for made, amount in ((by_fee, row.charge_nano), (by_list, row.list_nano)):
        windows[made].refresh_from_db()
        assert (windows[made].spent_nano, windows[made].reserved_nano) == (amount, 0)
    assert not BudgetLease.objects.filter(spool=spool.name).exists()


def test_a_record_without_list_prices_is_written_and_read_as_before() -> None:
    old = Opened(
        id="0" * 32, leg=0, at_ms=0, tenant_id=1, tenant="buyer", key_id=1, key="k", route="chat", alias="a",
        provider="p", upstream_model="m", input_estimate=70, budgets=(BudgetShare(1, 0, None),),
    )  # fmt: skip
    framed = records.framed(old)
    assert b"list" not in framed
    assert [record for record, _ in records.read(framed)] == [old]
    died = abandoned(OpenCall(old, 1, 0), lambda version: None)
    assert (died.list_nano, died.values["list_version"], died.values["list_nano"]) == (0, None, 0)
