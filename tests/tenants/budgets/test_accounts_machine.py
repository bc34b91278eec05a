"""Whatever happens in whichever order, what processes hold is reserved, and no more is than there is."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F, Sum
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway_project.lib import clock
from gateway_project.lib.errors import BudgetExhausted, Unavailable
from tenants.budgets.accounts import BudgetLeases
from tenants.budgets.holds import Hold
from tenants.budgets.terms import of_key
from tenants.ledger import booking
from tenants.models import Budget, BudgetLease, BudgetWindow, Tenant
from tests.plugins.tiers import by_tier
from tests.support import rows
from tests.tenants.budgets import bank
from tests.tenants.budgets.bank import Bank, booked

EXAMPLES, STEPS = by_tier((4, 30), (6, 50), (500, 60))
AMOUNT = 3_000
NANO = st.integers(min_value=0, max_value=400)
WHICH = st.integers(min_value=0, max_value=30)
PROCESS = st.sampled_from((0, 1))


class Process:
    """A process: its accounts, the calls that hold something, and what was charged and is not booked yet."""

    def __init__(self, spool: str) -> None:
        self.spool = spool
        self.bank = Bank()
        self.accounts = BudgetLeases(self.bank.write, spool)
        self.holds: list[Hold] = []
        self.charged: list[int] = []

    @property
    def committed(self) -> int:
        """The amount that nobody else may spend."""
        return sum(hold.held or 0 for hold in self.holds) + sum(self.charged)


class Spending(RuleBasedStateMachine):
    """Two processes, a tenant with one key, and a budget of each."""

    def __init__(self) -> None:
        super().__init__()
        self.undone = transaction.atomic()
        self.undone.__enter__()
        self.loop = asyncio.new_event_loop()
        self.customer = rows.customer(f"t{Tenant.objects.count()}")
        bank.budget(self.customer, AMOUNT, name="tenant")
        bank.budget(self.customer, AMOUNT // 2, name="key", api_key=self.customer.key)
        self.payers = of_key(self.customer.key)
        self.processes = [self.begun(), self.begun()]
        self.spent = 0

    started = 0

    def begun(self) -> Process:
        self.started += 1
        return Process(f"spool {self.started}")

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        async def whole() -> Any:
            try:
                return await work
            except (BudgetExhausted, Unavailable):
                return None
            finally:
                await bank.settle()

        return self.loop.run_until_complete(whole())

    @rule(of=PROCESS, nano=NANO)
    def hold(self, of: int, nano: int) -> None:
        process = self.processes[of]
        held = self.run(process.accounts.hold(self.payers, nano, clock.timestamp()))
        if held is not None:
            process.holds.append(held)

    @rule(of=PROCESS, amounts=st.lists(NANO, min_size=2, max_size=5))
    def hold_at_once(self, of: int, amounts: list[int]) -> None:
        process = self.processes[of]

        async def all_of_them() -> list[Any]:
            now = clock.timestamp()
            asked = (process.accounts.hold(self.payers, nano, now) for nano in amounts)
            return await asyncio.gather(*asked, return_exceptions=True)

        found = self.run(all_of_them())
        process.holds += [held for held in found if isinstance(held, Hold)]

    @rule(of=PROCESS, nano=NANO)
    def leave_while_it_is_asked(self, of: int, nano: int) -> None:
        process = self.processes[of]

        async def leave() -> None:
            asked = process.accounts.hold(self.payers, nano, clock.timestamp())
            task = asyncio.ensure_future(asked)
            await asyncio.sleep(0)
            task.cancel()
            (found,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(found, Hold):
                process.holds.append(found)

        self.run(leave())

    @rule(of=PROCESS, which=WHICH, nano=NANO)
    def extend(self, of: int, which: int, nano: int) -> None:
        if holds := self.processes[of].holds:
            self.run(holds[which % len(holds)].extend(nano))

    @rule(of=PROCESS, which=WHICH, percent=st.integers(0, 100))
    def settle(self, of: int, which: int, percent: int) -> None:
        process = self.processes[of]
        if process.holds:
            ended = process.holds.pop(which % len(process.holds))
            nano = (ended.held or 0) * percent // 100

            async def settle() -> None:
                ended.charge(nano)
                ended.release()

            self.run(settle())
            process.charged.append(nano)

    @rule(of=PROCESS)
    def book(self, of: int) -> None:
        process = self.processes[of]
        charged, process.charged = process.charged, []
        self._book(process, charged)

    def _book(self, process: Process, charged: list[int]) -> None:
        windows = [bank.window_of(terms) for terms in self.payers]
        calls = [booked(self.customer, *windows, charge_nano=nano) for nano in charged]
        booking.move_budgets(calls, process.spool)
        self.spent += sum(charged)

    @rule(of=PROCESS)
    def sweep(self, of: int) -> None:
        self.run(self.processes[of].accounts.sweep())

    @rule(of=PROCESS)
    def refresh(self, of: int) -> None:
        async def refresh() -> None:
            self.processes[of].accounts.refresh()

        self.run(refresh())

    @rule(of=PROCESS, mood=st.sampled_from(("well", "well", "twice", "unheard", "away")))
    def have_a_database_that_is(self, of: int, mood: str) -> None:
        orders = self.processes[of].bank
        orders.be_well()
        if mood == "twice":
            orders.times = 2
        elif mood == "unheard":
            orders.lose_answers()
        elif mood == "away":
            orders.be_away()

    @rule(of=PROCESS, percent=st.integers(0, 100))
    def die(self, of: int, percent: int) -> None:
        """Calls that a dead process left open are charged at no more than was held."""
        process, self.processes[of] = self.processes[of], self.begun()
        left_open = [(hold.held or 0) * percent // 100 for hold in process.holds]
        self._book(process, process.charged + left_open)
        booking.return_leases(process.spool)

    @precondition(lambda self: any(process.committed for process in self.processes))
    @rule(more=st.integers(1, 1_000))
    def raise_amounts(self, more: int) -> None:
        Budget.objects.filter(tenant=self.customer.tenant).update(
            amount_nano=F("amount_nano") + more
        )

    @invariant()
    def no_more_is_spent_and_reserved_than_there_is(self) -> None:
        for window in self._windows():
            assert window.spent_nano == self.spent
            assert window.spent_nano + window.reserved_nano <= window.budget.amount_nano

    @invariant()
    def what_is_reserved_is_what_leases_have(self) -> None:
        for window in self._windows():
            found = window.leases.aggregate(left=Sum(F("granted_nano") - F("charged_nano")))
            assert window.reserved_nano == (found["left"] or 0)

    @invariant()
    def what_a_process_has_is_leased_to_it(self) -> None:
        for process in self.processes:
            for held in process.accounts:
                lease = BudgetLease.objects.filter(
                    spool=process.spool, window__budget=held.window.budget_id
                ).first()
                left = 0 if lease is None else lease.granted_nano - lease.charged_nano
                assert held.free >= 0
                assert left >= held.free + process.committed
                if not held.is_unconfirmed:
                    assert left == held.free + process.committed

    def _windows(self) -> list[BudgetWindow]:
        windows = BudgetWindow.objects.filter(budget__tenant=self.customer.tenant)
        return list(windows.select_related("budget"))

    def teardown(self) -> None:
        try:
            self.end()
        finally:
            self.loop.close()
            transaction.set_rollback(True)
            self.undone.__exit__(None, None, None)

    def end(self) -> None:
        """Once all has ended, nothing is reserved."""
        for process in self.processes:
            process.bank.be_well()
            for hold in process.holds:
                self.run(self._released(hold))
            self.run(process.accounts.stop())
            self._book(process, process.charged)
        assert {window.reserved_nano for window in self._windows()} <= {0}

    async def _released(self, hold: Hold) -> None:
        hold.release()


Spending.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.persistence
@pytest.mark.django_db
def test_money_is_never_promised_twice() -> None:
    Spending.TestCase("runTest").runTest()
