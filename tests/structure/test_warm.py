"""Programs that are forks of the warm process are what Python would have started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.tiers import TIER, Tier
from tests.processes.served import Program, environment
from tests.support import warm
from tests.support.patience import GIVE_UP_SECONDS, until

TELL = """
import json, os, sys
from django.conf import settings
from django.db import connection
print(json.dumps({
    "starter": sys.orig_argv[2],
    "arguments": sys.argv[:2],
    "environment": dict(os.environ),
    "settings": [str(settings.DATA_DIR), settings.DEBUG, settings.DRAIN_SECONDS],
    "database": connection.settings_dict["NAME"],
}))
sys.exit(7)
"""
FORKED = "tests.support.warm_parent"


def told(data_dir: Path, **variables: str) -> tuple[dict[str, Any], dict[str, str]]:
    chosen = environment(data_dir, **variables)
    arguments = ["manage.py", "shell", "--no-imports", "-v", "0", "-c", TELL]
    ended = warm.run(arguments, chosen, GIVE_UP_SECONDS)
    assert (ended.returncode, ended.stderr) == (7, "")
    found: dict[str, Any] = json.loads(ended.stdout)
    return found, chosen


def test_each_has_settings_environment_and_end_of_its_own(tmp_path: Path) -> None:
    for name in ("one", "other"):
        data_dir = tmp_path / name
        found, chosen = told(data_dir, TOLLGATE_DRAIN_SECONDS=str(len(name) + 4))
        assert (found["starter"] == FORKED) is (TIER is not Tier.PROOF)
        assert found["arguments"] == ["manage.py", "shell"]
        assert found["environment"].items() >= chosen.items()
        set_by_programs = {"DJANGO_SETTINGS_MODULE", "LC_CTYPE", "TZ"}
        assert set(found["environment"]) - set(chosen) <= set_by_programs
        assert found["settings"] == [str(data_dir), False, len(name) + 4]
        assert found["database"] == str(data_dir / "tollgate.sqlite3")


@pytest.mark.long  # Python imports everything anew, here and below
def test_one_that_needs_what_was_read_while_importing_to_be_different_is_started_anew(
    tmp_path: Path,
) -> None:
    found, _ = told(tmp_path, TOLLGATE_DEBUG="true")
    assert found["starter"] != FORKED
    assert found["settings"][1] is True


def test_a_server_is_forked_as_well(tmp_path: Path) -> None:
    with Program(environment(tmp_path), "serve", "--port", "0", "--wait", "1000") as server:
        until(lambda: "empty" in server.stderr)  # it runs, and waits for tables
        begun_by = Path(f"/proc/{server.pid}/cmdline").read_text()
    assert (FORKED in begun_by) is (TIER is not Tier.PROOF)


@pytest.mark.long
def test_one_whose_settings_cannot_be_read_fails_as_python_does(tmp_path: Path) -> None:
    for wrong in ({"TOLLGATE_DRAIN_SECONDS": "soon"}, {"TOLLGATE_TASKS": "threads"}):
        chosen = environment(tmp_path, **wrong)
        forked, cold = (
            warm.run(["manage.py", "check"], chosen, GIVE_UP_SECONDS, is_cold=is_cold)
            for is_cold in (False, True)
        )
        assert cold.returncode != 0
        assert next(iter(wrong)) in cold.stderr
        assert (forked.returncode, forked.stdout, forked.stderr) == (
            cold.returncode,
            cold.stdout,
            cold.stderr,
        )
