"""An ingester that is killed at any point of its work leaves what another one brings to the same end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.tiers import sampled
from tests.processes.conftest import Prepared
from tests.processes.served import environment, manage, shell
from tests.support import warm
from tests.support.patience import GIVE_UP_SECONDS
from tests.tenants.ledger.killed_at import CALLS, CHARGE, POINTS, owner_of

ROWS = """
import json
from datetime import UTC, datetime
from tenants.models import ApiKey, Budget
from tests.support import rows
key = ApiKey.objects.first() or rows.customer("acme").key
budget = Budget.objects.create(tenant=key.tenant, name="all", amount_nano=10**9, period="total")
budget.windows.create(starts_at=datetime(2026, 10, 1, tzinfo=UTC))
print(json.dumps(None))
"""
STATE = """
import json
from tenants.billing import rollups, selfcheck
from tenants.models import ApiKey, BudgetLease, BudgetWindow, UsageDay, UsageRow
rollups.recompute_dirty()
rows = UsageRow.objects.order_by("id").values_list("status", "charge_nano", "input_fresh")
windows = BudgetWindow.objects.values_list("spent_nano", "reserved_nano")
days = [sum(column) for column in zip(*UsageDay.objects.values_list("calls", "charge_nano"))]
used = ApiKey.objects.filter(last_used_at__isnull=False).count()
print(json.dumps([
    sorted(map(list, rows)), list(map(list, windows)), days, used,
    BudgetLease.objects.count(), selfcheck.examine(),
]))
"""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def variables(request: pytest.FixtureRequest, prepared: Prepared) -> dict[str, str]:
    """The variables of a database with a key and a budget."""
    more = {"TOLLGATE_SPOOL_LEAST_FREE_PERCENT": "0"}
    if request.param == "postgres":
        more["DATABASE_URL"] = request.getfixturevalue("migrated_postgres")
    found = environment(prepared.data_dir, **more)
    shell(found, ROWS)
    return found


@pytest.mark.parametrize("point", POINTS)
def test_every_point_names_something_that_exists(point: str) -> None:
    owner, name = owner_of(point)
    assert callable(getattr(owner, name))


@pytest.mark.long
def test_whatever_point_it_is_killed_at_another_ends_as_if_nothing_had_happened(
    variables: dict[str, str],
) -> None:
    every = [(point, when) for point in POINTS for when in ("before", "after")]
    points = sampled(every, default=6, ci=6)
    for number, (point, when) in enumerate(points):
        assert killed(variables, when, point, str(1 + number % 2)), (point, when)
    manage(variables, "ingest", "--once")
    rows, windows, days, used, leases, differences = shell(variables, STATE)
    spools = 2 * len(points)
    ended, left = spools * (CALLS - 1), spools
    assert len(rows) == ended + left
    assert [row for row in rows if row[0] == "abandoned"] == [["abandoned", 0, 10]] * left
    assert [row[1] for row in rows if row[0] == "completed"] == [CHARGE] * ended
    assert windows == [[CHARGE * ended, 0]]
    assert days == [ended + left, CHARGE * ended]
    assert (used, leases, differences) == (1, 0, [])
    spool = Path(variables["TOLLGATE_DATA_DIR"]) / "spool"
    assert [entry.name for entry in spool.iterdir() if entry.is_dir()] == ["archive"]


def killed(variables: dict[str, str], when: str, point: str, turn: str) -> bool:
    """Tell whether the process got far enough to kill itself."""
    program = ["-m", "tests.tenants.ledger.killed_at", when, point, turn]
    settings = {"DJANGO_SETTINGS_MODULE": "gateway_project.settings"}
    ended = warm.run(program, {**variables, **settings}, GIVE_UP_SECONDS)
    assert ended.returncode in {0, -9}, ended.stderr
    return ended.returncode == -9
