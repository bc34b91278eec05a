"""An expansion is applied while workers of the version before it serve, and they may be started again."""

from __future__ import annotations

import pytest

from gateway_project.sandbox import SandboxServer
from tests.processes.callers import BOOKS, ROWS, Callers, rows_of
from tests.processes.conftest import Prepared
from tests.processes.served import Served, environment, manage, shell
from tests.support import warm
from tests.support.patience import GIVE_UP_SECONDS

CALLS = 15


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def variables(
    request: pytest.FixtureRequest,
    prepared: Prepared,
) -> dict[str, str]:
    more = {"TOLLGATE_SPOOL_LEAST_FREE_PERCENT": "0"}
    if request.param == "postgres":
        more["DATABASE_URL"] = request.getfixturevalue("migrated_postgres")
    return environment(prepared.data_dir, **more)


def expand(variables: dict[str, str]) -> None:
    """Run the next version's migrate."""
    after = {**variables, "DJANGO_SETTINGS_MODULE": "tests.upgrade.next_settings"}
    ended = warm.run(["manage.py", "migrate"], after, GIVE_UP_SECONDS, is_cold=True)
    assert ended.returncode == 0, ended.stderr
    assert "Applying expansion.0001_expand... OK" in ended.stdout


def test_workers_go_on_while_the_next_version_expands_their_tables(
    variables: dict[str, str],
    provider: SandboxServer,
) -> None:
    secret = shell(variables, ROWS.format(url=provider.base_url))
    with Served(variables) as served:
        callers = Callers(served, secret)
        with callers.calling():
            callers.wait_for(CALLS)
            expand(variables)
            callers.wait_for(CALLS)
        served.signal()
        assert served.wait() == 0
        assert not [line for line in served.lines if line.get("level") == "error"]
    # Back to this version without a restore: its migrate puts its own triggers in order, and it serves.
    manage(variables, "migrate", "-v", "0")
    with Served(variables) as served:
        again = Callers(served, secret)
        with again.calling():
            again.wait_for(CALLS)
        served.signal()
        assert served.wait() == 0
    manage(variables, "ingest", "--once")
    manage(variables, "ledger_check")
    rows = rows_of(shell(variables, BOOKS))
    assert set(callers.ended + again.ended) == rows.keys()
