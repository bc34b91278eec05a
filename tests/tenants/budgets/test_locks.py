"""Windows are locked in one order by everybody, so that no two processes wait for each other."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection, transaction

from gateway_project.lib import clock, writer
from gateway_project.lib.writer import Pending
from tenants.budgets import locks
from tenants.budgets.leases import Draw, DrawPart, GiveBack
from tenants.budgets.windows import Place, Window, window
from tenants.ledger import booking
from tenants.models import BudgetLease, BudgetWindow
from tests.support import rows, storing
from tests.support.rows import Customer
from tests.tenants.budgets.bank import booked, budget, terms

pytestmark = pytest.mark.persistence

DOLLAR = 1_000_000_000


def windows(of: Customer, count: int = 3) -> list[Window]:
    for number in range(count):
        budget(of, DOLLAR, name=f"budget {number}")
    return [window(found, clock.timestamp()) for found in terms(of)]


def draw(spool: str, *of: Window, known: int = 0) -> Draw:
    return Draw(spool, tuple(DrawPart(found, known, 1000) for found in of))


def commit(*orders: Any) -> list[Any]:
    """Commit these orders together, as the writer does with what has gathered."""
    kinds = (storing.kind_of(Draw),)
    batch = [Pending(order, 0, None) for order in orders]
    writer.commit(batch, kinds)
    return [pending.result for pending in batch]


def test_what_is_drawn_and_given_back_at_once_is_locked_in_one_order(
    acme: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = windows(acme)
    commit(draw("a", third), draw("b", third))
    seen: list[Place] = []
    lock = locks.lock_window

    def locked(of: Window, *, make: bool) -> BudgetWindow | None:
        seen.append(of.place)
        return lock(of, make=make)

    monkeypatch.setattr(locks, "lock_window", locked)
    commit(
        GiveBack("a", third, 0), draw("a", second, first), draw("b", first), GiveBack("b", third, 0)
    )
    assert seen == [first.place, second.place, third.place]


def test_orders_of_a_batch_are_carried_out_in_the_order_in_which_they_came(acme: Customer) -> None:
    (only,) = windows(acme, 1)
    commit(draw("a", only))
    _, drawn = commit(GiveBack("a", only, 0), draw("a", only))
    assert drawn.granted == (BudgetLease.objects.get().granted_nano,)
    assert BudgetWindow.objects.get().reserved_nano == drawn.granted[0] > 0


def test_a_dead_process_is_booked_and_its_leases_returned_in_the_same_order(
    acme: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = windows(acme)
    commit(draw("dead", third), draw("dead", first))
    seen: list[Place] = []
    lock = locks.lock_window

    def locked(of: Window, *, make: bool) -> BudgetWindow | None:
        seen.append(of.place)
        return lock(of, make=make)

    monkeypatch.setattr(locks, "lock_window", locked)
    call = booked(acme, second, charge_nano=10)
    with transaction.atomic():
        booking.lock_windows([call], "dead")
        assert seen == [first.place, second.place, third.place]
        booking.book([call], "dead")
        booking.return_leases("dead")
    assert not BudgetLease.objects.exists()
    assert set(BudgetWindow.objects.values_list("reserved_nano", flat=True)) == {0}


@pytest.mark.long
@pytest.mark.django_db(transaction=True)
def test_processes_that_draw_and_give_back_crosswise_do_not_wait_for_each_other() -> None:
    first, second = windows(rows.customer("acme"), 2)
    failed: list[BaseException] = []

    def work(name: str, given: Window, drawn: Window) -> None:
        known = 0
        try:
            for _ in range(60):
                _, result = commit(GiveBack(name, given, 0), draw(name, drawn, known=known))
                known = result.granted[0]
        except BaseException as error:  # noqa: BLE001  # told in the test's own thread
            failed.append(error)
        finally:
            connection.close()

    threads = [
        threading.Thread(target=work, args=("a", first, second)),
        threading.Thread(target=work, args=("b", second, first)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failed == []
    for row in BudgetWindow.objects.all():
        assert row.reserved_nano == sum(lease.granted_nano for lease in row.leases.all())
