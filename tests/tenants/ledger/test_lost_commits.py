"""A database that lost its last commits, or was restored from a backup: the ledger becomes whole again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection, models
from msgspec import structs

from tenants import triggers
from tenants.billing import rollups, selfcheck
from tenants.ledger import archive, origin
from tenants.ledger.ingest import Ingester, ingest_all
from tenants.ledger.records import BudgetShare
from tenants.ledger.spool import Spool
from tenants.models import (
    Budget,
    BudgetLease,
    BudgetWindow,
    DirtyHour,
    SpoolPosition,
    Tenant,
    UsageDay,
    UsageHour,
    UsageRow,
)
from tests.tenants.ledger.conftest import opened, settled, write_call

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.persistence]

KEPT: tuple[type[models.Model], ...] = (
    UsageRow, SpoolPosition, BudgetWindow, BudgetLease, DirtyHour, UsageHour, UsageDay,
)  # fmt: skip
CHARGE, HELD = 8, 1_000
STARTS_AT = datetime(2026, 10, 1, tzinfo=UTC)


def backup() -> list[tuple[Any, list[Any]]]:
    return [(model, list(model._default_manager.all())) for model in KEPT]


def restore(saved: list[tuple[Any, list[Any]]]) -> None:
    """Restore rows as from a backup, past the triggers that keep rows from changing."""
    triggers.remove()
    for model, _ in reversed(saved):
        model.objects.all()._raw_delete("default")
    for model, rows in saved:
        model.objects.bulk_create(rows)
    triggers.install()


class World:
    """A budget, and calls that are charged to it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tenant = Tenant.objects.create(slug="acme", name="Acme")
        budget = Budget.objects.create(
            tenant=self.tenant, name="all", amount_nano=10**9, period="total"
        )
        self.window = budget.windows.create(starts_at=STARTS_AT)
        self.share = BudgetShare(budget.pk, int(STARTS_AT.timestamp()), None)

    def spool(self) -> Spool:
        """Return the spool of a process that holds some of the budget; its files rotate."""
        spool = Spool(self.directory, file_bytes=2_000)
        BudgetLease.objects.create(window=self.window, spool=spool.name, granted_nano=HELD)
        held = models.F("reserved_nano") + HELD
        BudgetWindow.objects.filter(pk=self.window.pk).update(reserved_nano=held)
        return spool

    def calls(self, spool: Spool, count: int = 10) -> None:
        for _ in range(count):
            call = opened(tenant_id=self.tenant.pk, budgets=(self.share,), held_nano=10)
            spool.append(call)
            spool.append(settled(call))

    def leave_one_open(self, spool: Spool) -> None:
        spool.append(opened(tenant_id=self.tenant.pk, budgets=(self.share,), held_nano=10))

    def state(self) -> Any:
        rollups.recompute_dirty()
        assert selfcheck.examine() == []
        (window,) = BudgetWindow.objects.values_list("spent_nano", "reserved_nano")
        sums = UsageDay.objects.aggregate(models.Sum("calls"), models.Sum("charge_nano"))
        days = [sums["calls__sum"], sums["charge_nano__sum"]]
        done = SpoolPosition.objects.order_by("spool").values_list("spool", "is_done")
        rows = UsageRow.objects.order_by("pk").values_list("pk", "status", "charge_nano")
        return list(rows), window, days, list(done)


@pytest.fixture
def world(spools: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("tenants.ledger.reader.BATCH", 4)
    return World(spools)


def looks_again(_world: World, ingester: Ingester) -> None:
    """Look again: nobody reports the loss, but the stored position shows it."""
    assert ingester.look().failed
    assert not ingester.look().failed


def looks_after_an_error(_world: World, ingester: Ingester) -> None:
    def refuse(*_: Any) -> None:
        raise OperationalError("terminating connection")

    with connection.execute_wrapper(refuse), pytest.raises(OperationalError):
        ingester.look()
    assert not ingester.look().failed


def is_replaced(world: World, ingester: Ingester) -> None:
    ingester.close()
    assert not ingest_all(world.directory).failed


@pytest.mark.parametrize("comes_back", [looks_again, looks_after_an_error, is_replaced])
def test_what_the_database_lost_is_read_again_from_spools_and_archive(
    world: World, comes_back: Callable[[World, Ingester], None]
) -> None:
    running, ending, ingester = world.spool(), world.spool(), Ingester(world.directory)
    for spool in (running, ending):
        world.calls(spool)
    ingester.look()
    saved = backup()
    born_later = world.spool()
    for spool in (running, ending, born_later):
        world.leave_one_open(spool)
        world.calls(spool)
    ending.close()
    born_later.close()
    ingester.look()
    world.calls(running, 1)
    ingester.look()
    before = world.state()
    assert len(archive.spools(world.directory)) == 3

    restore(saved)
    world.calls(running, 1)
    comes_back(world, ingester)

    rows, window, days, done = world.state()
    assert [row for row in rows if row in before[0]] == before[0]
    assert len(rows) == len(before[0]) + 1
    assert window == (before[1][0] + CHARGE, before[1][1] - CHARGE)
    assert days == [before[2][0] + 1, before[2][1] + CHARGE]
    assert done == before[3]
    ingester.close()
    running.close()


def test_a_call_that_was_made_again_under_its_own_id_has_a_row_of_its_own(world: World) -> None:
    """The database forgot that a queued response had been begun, and another worker began it."""
    spools = [world.spool(), world.spool()]
    first = opened(tenant_id=world.tenant.pk, budgets=(world.share,), held_nano=10)
    again = structs.replace(first, at_ms=first.at_ms + 5)
    for spool, call in zip((*spools, spools[0]), (first, again, again), strict=True):
        spool.append(call)
        spool.append(settled(call))
    for spool in spools:
        spool.close()
    ingest_all(world.directory)
    assert sorted(UsageRow.objects.values_list("leg", flat=True)) == [0, 0x100]
    assert BudgetWindow.objects.get().spent_nano == 2 * CHARGE
    before = world.state()
    SpoolPosition.objects.all().delete()
    assert ingest_all(world.directory).rows == 0
    assert world.state() == before


def test_spools_that_were_booked_in_another_database_are_left_alone(
    spools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish_one() -> None:
        spool = Spool(spools)
        write_call(spool)
        spool.close()
        assert ingest_all(spools).rows == 1

    finish_one()
    SpoolPosition.objects.all().delete()
    monkeypatch.setattr(origin, "_name", lambda: "another")
    assert ingest_all(spools).spools == 0
    finish_one()
    SpoolPosition.objects.all().delete()
    assert ingest_all(spools).spools == 1


def test_what_is_deleted_from_the_archive_does_not_keep_back_what_follows(
    spools: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(spools, file_bytes=2_000)
    for _ in range(20):
        write_call(spool)
    spool.close()
    ingest_all(spools)
    booked = UsageRow.objects.count()
    SpoolPosition.objects.all().delete()
    (spools / archive.FOLDER / spool.name / "000001.log").unlink()
    assert ingest_all(spools).finished == 1
    assert "files 1 to 1" in caplog.text
    assert UsageRow.objects.count() == booked
    assert SpoolPosition.objects.get().is_done
