"""Commands as a script meets them: processes with exit codes, and stdout that is JSON or nothing."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.running import cold_process, process
from tests.plugins.cases import cases
from tests.support.databases import copy_migrated
from tests.support.patience import GIVE_UP_SECONDS
from tests.support.warm import ROOT
from tests.test_docs import OUR_COMMANDS

HELP_OF_EACH = """
import sys
from django.core.management import execute_from_command_line
for name in sys.argv[2:]:
    try:
        execute_from_command_line(["manage.py", name, "--help"])
    except SystemExit as end:
        assert not end.code, name
"""


@pytest.mark.long  # Python imports everything anew
def test_help_leaves_nothing_behind(tmp_path: Path) -> None:
    variables = {"TOLLGATE_DATA_DIR": str(tmp_path / "data"), "PATH": os.environ["PATH"]}
    settings = {"DJANGO_SETTINGS_MODULE": "gateway_project.settings"}

    told = subprocess.run(
        [sys.executable, "-W", "error", "-c", HELP_OF_EACH, "--help", *OUR_COMMANDS],
        cwd=ROOT,
        env={**variables, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=GIVE_UP_SECONDS,
    )

    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.count("usage: ") == len(OUR_COMMANDS)
    assert list(tmp_path.iterdir()) == []


OVER_HTTPS = """
from django.test import Client
https = {"HTTP_X_FORWARDED_PROTO": "https", "HTTP_HOST": "localhost"}
print(Client(**https).get("/console/login/").headers.get("Strict-Transport-Security"))
"""


@cases(("told", "sent"), [("true", "max-age=31536000"), ("", "None")])
def test_browsers_stay_with_https_where_tls_is_told(tmp_path: Path, told: str, sent: str) -> None:
    shell = ("shell", "--no-imports", "-v", "0", "-c", OVER_HTTPS)

    answer = process(tmp_path, *shell, TOLLGATE_SECURE_COOKIES=told)

    assert answer.stdout.strip() == sent, answer.stderr


@pytest.mark.long  # Python imports everything anew
def test_only_its_owner_can_read_the_database(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    copy_migrated(tmp_path_factory, tmp_path)  # with the modes that `migrate` gave
    file = tmp_path / "tollgate.sqlite3"
    made = stat.S_IMODE(file.stat().st_mode)
    file.chmod(0o644)  # as an earlier version left it

    cold_process(tmp_path, "create_tenant", "Acme")

    assert made == stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.rglob("*") if path.stat().st_mode & 0o077] == []


@pytest.mark.long  # it migrates
def test_a_script_sets_up_a_gateway_from_nothing(tmp_path: Path) -> None:
    started = process(tmp_path, "quickstart", "--json", GROQ_API_KEY="gsk-test-groq-0001")
    assert (started.returncode, started.stderr) == (0, "")
    assert "groq-gpt-oss-120b" in json.loads(started.stdout)["models"]
    assert process(tmp_path, "quickstart", "--json").stdout == started.stdout

    made = process(tmp_path, "create_tenant", "Acme", "--json")
    assert json.loads(made.stdout)["slug"] == "acme"
    key = process(tmp_path, "create_key", "--tenant", "acme", "--name", "ci", "--json")
    assert set(json.loads(key.stdout)) == {"id", "key"}

    sound = process(tmp_path, "doctor", "--json")
    assert (sound.returncode, json.loads(sound.stdout)["ok"]) == (0, True)


def test_a_refusal_leaves_stdout_empty_and_ends_with_1(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    copy_migrated(tmp_path_factory, tmp_path)
    process(tmp_path, "quickstart", "--json")
    refused = process(tmp_path, "create_key", "--tenant", "nobody", "--name", "ci", "--json")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("CommandError: tenant: There is no tenant 'nobody'.")


def test_a_database_without_tables_is_told_in_words(tmp_path: Path) -> None:
    refused = process(tmp_path, "create_tenant", "Acme", "--json")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "The database cannot be used" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_doctor_works_before_anything_is_there(tmp_path: Path) -> None:
    found = process(tmp_path, "doctor", "--json")
    assert found.returncode == 1
    broken = [f["subject"] for f in json.loads(found.stdout)["findings"] if f["level"] == "broken"]
    assert broken == ["migrations"]


def test_doctor_tells_of_a_database_that_is_away(tmp_path: Path) -> None:
    url = "postgres://nobody:hidden-password@127.0.0.1:9/none"
    found = process(tmp_path, "doctor", "--json", DATABASE_URL=url)
    assert found.returncode == 1
    assert "postgresql cannot be reached" in found.stdout
    assert "hidden-password" not in found.stdout + found.stderr


@cases("option", ["--help", "--list-faults"])
def test_the_sandbox_command_knows_its_faults_and_options(tmp_path: Path, option: str) -> None:
    told = process(tmp_path, "sandbox", option)
    assert told.returncode == 0
    assert told.stdout


def test_nothing_serves_where_no_call_could_succeed(tmp_path: Path) -> None:
    away = {"DATABASE_URL": "postgres://nobody:hidden-password@127.0.0.1:9/none"}
    celery = {"TOLLGATE_TASKS": "celery", "REDIS_URL": "redis://127.0.0.1:9/0"}
    for arguments, variables, said in (
        (("serve", "--port", "0"), {}, "The database is empty: run manage.py migrate"),
        (("serve", "--port", "0"), away, "The database cannot be reached: connection failed"),
        (("serve", "--quickstart", "--port", "0"), away, "The database cannot be reached"),
        (("migrate",), away, "The database cannot be reached: connection failed"),
        (("background_worker",), celery, "The database is empty: run manage.py migrate"),
        (("serve", "--port", "65536"), {}, "--port is 65536; a port is a number up to 65535."),
    ):
        refused = process(tmp_path, *arguments, **variables)
        assert (refused.returncode, refused.stdout) == (1, ""), arguments
        assert refused.stderr.startswith(f"CommandError: {said}"), refused.stderr
        assert refused.stderr.count("\n") == 1
        assert "hidden-password" not in refused.stderr
