"""The samples in deploy/: what they say fits the program's defaults, and systemd finds no fault with them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands, load_command_class

from gateway_project.serving.supervisor import OVERTIME_SECONDS, TAKEOVER_SECONDS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = DEPLOY / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
PYTHON = "/opt/tollgate/current/.venv/bin/python"
MANAGE = "/opt/tollgate/current/manage.py"
MEGABYTE = 1024 * 1024
SECRET = re.compile(r"^\| `([A-Z_]+)` \|.*\*secret\*", re.MULTILINE)
NAME = re.compile(r"^\| `([A-Z_]+)` \|", re.MULTILINE)


def read(path: Path) -> ConfigParser:
    unit = ConfigParser(interpolation=None, strict=False, delimiters=("=",))
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    unit.read(path, encoding="utf-8")
    return unit


COMMON = read(UNITS / "tollgate-.service.d" / "common.conf")["Service"]


def test_services_have_the_time_that_a_drain_and_a_takeover_take() -> None:
    # The supervisor kills workers so long after the drain, and then gives the ingester as much again.
    longest_stop = settings.DRAIN_SECONDS + 2 * OVERTIME_SECONDS
    assert float(COMMON["TimeoutStopSec"]) > longest_stop
    serve = read(UNITS / "tollgate-serve.service")["Service"]
    assert float(serve["TimeoutStartSec"]) > TAKEOVER_SECONDS
    assert int(COMMON["LimitNOFILE"]) // 2 > settings.MAX_CONNECTIONS


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_each_service_runs_a_command_that_exists(path: Path) -> None:
    service = read(path)["Service"]
    for name in {"ExecStart", "ExecReload"} & service.keys():
        python, manage, command, *arguments = shlex.split(service[name])
        assert (python, manage) == (PYTHON, MANAGE)
        parser = load_command_class(get_commands()[command], command).create_parser(manage, command)
        parser.parse_args(arguments)


def test_the_sample_of_settings_names_only_real_ones() -> None:
    documented = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    known = set(NAME.findall(documented))
    known |= {f"{name}_FILE" for name in SECRET.findall(documented)}
    text = (UNITS / "tollgate.env").read_text(encoding="utf-8")
    named = re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE)
    assert len(named) > 5
    assert set(named) <= known


def test_proxies_wait_longer_and_take_more_than_the_gateway() -> None:
    nginx = (DEPLOY / "nginx" / "tollgate.conf").read_text(encoding="utf-8")
    caddy = (DEPLOY / "caddy" / "Caddyfile").read_text(encoding="utf-8")

    def number(pattern: str, text: str) -> int:
        found = re.search(pattern, text)
        assert found, pattern
        return int(found[1])

    for read_seconds, body_megabytes, idle_seconds in (
        (
            number(r"proxy_read_timeout (\d+)s;", nginx),
            number(r"client_max_body_size (\d+)m;", nginx),
            number(r"keepalive_timeout (\d+)s;", nginx),
        ),
        (
            number(r"response_header_timeout (\d+)s", caddy),
            number(r"max_size (\d+)MiB", caddy),
            number(r"keepalive (\d+)s", caddy),
        ),
    ):
        assert read_seconds > settings.TOTAL_SECONDS
        assert body_megabytes * MEGABYTE > settings.MAX_BODY_BYTES
        assert idle_seconds < settings.IDLE_CONNECTION_SECONDS
    listened = read(UNITS / "tollgate-serve.socket")["Socket"]["ListenStream"]
    assert f"server {listened};" in nginx
    assert f"reverse_proxy {listened} " in caddy


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        message = "systemd-analyze is not installed (Debian: systemd)"
        if os.environ.get("TOLLGATE_TESTS_REQUIRE_PROXIES") == "1":
            pytest.fail(message)
        pytest.skip(message)
    for source in UNITS.rglob("*"):
        if source.suffix in {".service", ".socket", ".conf"}:
            copy = tmp_path / source.relative_to(UNITS)
            copy.parent.mkdir(exist_ok=True)
            text = source.read_text(encoding="utf-8").replace(PYTHON, "/bin/true")
            copy.write_text(text, encoding="utf-8")
    units = [path.name for path in (*SERVICES, *UNITS.glob("*.socket"))]
    told = subprocess.run(
        [analyze, "verify", "--man=no", *units],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stderr) == (0, "")


def test_the_script_for_management_commands_is_a_shell_script() -> None:
    subprocess.run(["/bin/sh", "-n", str(UNITS / "tollgate-manage")], check=True)


def test_of_the_shells_variables_only_names_of_files_reach_a_management_command(
    tmp_path: Path,
) -> None:
    # Whoever is signed in can read the variables of a unit.
    fake = tmp_path / "systemd-run"
    fake.write_text("""#!/bin/sh\nprintf '%s\\n' "$@"\n""")
    fake.chmod(0o755)
    variables = {"OPENAI_KEY_FILE": "/etc/tollgate/key", "OPENAI_KEY": "sk-secret"}
    told = subprocess.run(
        ["/bin/sh", str(UNITS / "tollgate-manage"), "create_tenant", "Acme Ltd"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", **variables},
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert [word for word in told if word.startswith("--setenv")] == ["--setenv=OPENAI_KEY_FILE"]
    assert told[-4:] == [PYTHON, MANAGE, "create_tenant", "Acme Ltd"]
