"""However calls are spread over spools, batches, moments and ingesters: the same rows, sums and budgets."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db.models import Sum
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_project.lib import ids
from tenants.billing import rollups, selfcheck
from tenants.ledger.ingest import Ingester
from tenants.ledger.records import BudgetShare, Opened
from tenants.ledger.spool import Spool
from tenants.models import Budget, BudgetWindow, Tenant, UsageDay, UsageHour, UsageRow
from tests.plugins.tiers import examples
from tests.tenants.ledger.conftest import opened, settled

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.persistence]

HOUR_MS = 3_600_000
START = int(datetime(2026, 10, 31, 20, tzinfo=UTC).timestamp())

# A call: which spool writes it, in which hour it was opened, its tokens of each class, and whether it ends.
CALLS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 50), st.booleans()),
    min_size=1,
    max_size=25,
)
# After how many records somebody looks: the first ingester, the second, or a third that ends at once.
LOOKS = st.lists(st.tuples(st.integers(0, 50), st.sampled_from("abc")), max_size=8)


class Books:
    """A tenant with a budget, three spools and what must be in the ledger of them."""

    def __init__(self, directory: Path) -> None:
        slug = f"t{ids.uuid7().hex}"
        self.tenant = Tenant.objects.create(slug=slug, name=slug)
        self.budget = Budget.objects.create(
            tenant=self.tenant, name="all", amount_nano=10**12, period="total"
        )
        self.spools = [Spool(directory, file_bytes=2_000) for _ in range(3)]
        self.charged = 0

    def call(self, hour: int) -> Opened:
        share = BudgetShare(self.budget.pk, START, None)
        at_ms = START * 1000 + hour * HOUR_MS
        return opened(tenant_id=self.tenant.pk, at_ms=at_ms, budgets=(share,), held_nano=10**6)

    def assert_hold(self, calls: int) -> None:
        rows = UsageRow.objects.filter(tenant=self.tenant)
        assert rows.count() == calls
        assert rows.aggregate(Sum("charge_nano"))["charge_nano__sum"] == self.charged
        for sums in (UsageHour, UsageDay):
            found = sums.objects.filter(tenant=self.tenant).aggregate(
                Sum("calls"), Sum("charge_nano")
            )
            assert (found["calls__sum"], found["charge_nano__sum"]) == (calls, self.charged)
        spent = BudgetWindow.objects.filter(budget=self.budget).aggregate(Sum("spent_nano"))
        assert (spent["spent_nano__sum"] or 0) == self.charged


@settings(max_examples=examples(40))
@given(calls=CALLS, looks=LOOKS, batch=st.integers(1, 6), read_bytes=st.integers(500, 5_000))
def test_the_same_is_booked_however_it_is_split(
    db: None,
    calls: list[tuple[int, int, int, bool]],
    looks: list[tuple[int, str]],
    batch: int,
    read_bytes: int,
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("tenants.ledger.reader.BATCH", batch)
        patch.setattr("tenants.ledger.reader.READ_BYTES", read_bytes)
        directory = Path(folder)
        books = Books(directory)
        ingesters = {"a": Ingester(directory), "b": Ingester(directory)}
        when = dict(looks)
        for number, record in enumerate(_records(books, calls)):
            books.spools[record[0]].append(record[1])
            if (who := when.get(number)) is not None:
                _look(directory, ingesters, who)
        for spool in books.spools:
            spool.close()
        for ingester in ingesters.values():
            ingester.look()
            ingester.close()
        _look(directory, ingesters, "c")
        rollups.recompute_dirty()
        books.assert_hold(len(calls))
        assert selfcheck.examine() == []


def _look(directory: Path, ingesters: dict[str, Ingester], who: str) -> None:
    ingester = ingesters.get(who) or Ingester(directory)
    ingester.look()
    if who == "c":
        ingester.close()


def _records(books: Books, calls: list[tuple[int, int, int, bool]]) -> list[tuple[int, Any]]:
    """Each spool's openings come first, so that ends come in another order than beginnings."""
    begun, ended = [], []
    for spool, hour, tokens, ends in calls:
        call = books.call(hour)
        begun.append((spool, call))
        if ends:
            ended.append((spool, settled(call, tokens)))
            books.charged += 8 * tokens
    return begun + ended[::-1]
