"""The database behind accounts, in the test's own transaction, as it is on good days and bad ones."""

from __future__ import annotations

import asyncio
from asyncio import events
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.db import transaction
from django.db.models import F, Sum
from django.db.models.functions import Coalesce

from gateway_project.lib import clock, ids
from gateway_project.lib.cache import StoreUnavailable
from tenants.budgets import leases
from tenants.budgets.accounts import BudgetLeases
from tenants.budgets.leases import Order
from tenants.budgets.terms import BudgetTerms, of_key
from tenants.budgets.windows import Window, window
from tenants.ledger.open_calls import Booked, OpenCall, abandoned
from tenants.ledger.records import Opened
from tenants.models import Budget, BudgetLease, BudgetWindow
from tests.support.rows import Customer


@contextmanager
def as_in_the_test() -> Iterator[None]:
    """Django gives each task a connection of its own, which would not see what the test's has made."""
    loop = events._get_running_loop()
    events._set_running_loop(None)
    try:
        yield
    finally:
        events._set_running_loop(loop)


class Bank:
    """A writer that carries each order out `times`, and then raises `error`, if there is one, instead of
    returning the result."""

    def __init__(self) -> None:
        self.times = 1
        self.error: Exception | None = None
        self.orders: list[Order] = []
        self.asked = asyncio.Event()

    async def write(self, order: Order) -> Any:
        self.orders.append(order)
        self.asked.set()
        await asyncio.sleep(0)
        result = None
        for _ in range(self.times):
            with as_in_the_test(), transaction.atomic():
                (result,) = leases.carry_out([order])
        if self.error is not None:
            raise self.error
        return result

    def lose_answers(self) -> None:
        """Orders are committed, but nobody hears of it."""
        self.times, self.error = 1, StoreUnavailable("OperationalError")

    def be_away(self) -> None:
        self.times, self.error = 0, StoreUnavailable("OperationalError")

    def be_well(self) -> None:
        self.times, self.error = 1, None


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run it in an event loop, until all that it began has ended too."""

    async def whole() -> Any:
        try:
            return await work
        finally:
            await settle()

    return asyncio.run(whole())


async def settle() -> None:
    """Wait until every task has ended."""
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        with suppress(Exception):
            await asyncio.wait(others)


def budget(of: Customer, amount_nano: int, **fields: Any) -> Budget:
    fields = {"name": "test", "period": "total", **fields}
    return Budget.objects.create(tenant=of.tenant, amount_nano=amount_nano, **fields)


def terms(of: Customer) -> tuple[BudgetTerms, ...]:
    return of_key(of.key)


def free(accounts: BudgetLeases) -> int:
    """Return what the process has of its windows for calls to come."""
    return sum(lease.free for lease in accounts)


def reserved() -> int:
    """Return what is reserved of the only window: what leases have that was not charged."""
    with as_in_the_test():
        window = BudgetWindow.objects.get()
        left = F("granted_nano") - F("charged_nano")
        found = BudgetLease.objects.aggregate(left=Coalesce(Sum(left), 0))
    assert window.reserved_nano == found["left"]
    return window.reserved_nano


def booked(of: Customer, *paid_by: Window, charge_nano: int) -> Booked:
    """A call as the ingester books it."""
    opened = Opened(
        id=ids.uuid7().hex, leg=0, at_ms=int(clock.timestamp() * 1000), tenant_id=of.tenant.pk,
        tenant=of.tenant.slug, key_id=of.key.pk, key=of.key.public_id, route="responses", alias="a",
        provider="p", upstream_model="m", input_estimate=1, service_tier="default", cost_version=None,
        charge_version=None, is_own=False, held_nano=charge_nano,
        budgets=tuple(found.share for found in paid_by),
    )  # fmt: skip
    ended = abandoned(OpenCall(opened, 1, 0), lambda version: None)
    return Booked(opened, charge_nano, {**ended.values, "charge_nano": charge_nano})


def window_of(found: BudgetTerms) -> Window:
    return window(found, clock.timestamp())
