"""Image, compose file and chart as they are written; tests/deploy/test_tools.py asks the tools."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema

from gateway_project.lib import keyring
from gateway_project.lib.env import Env
from gateway_project.lib.version import VERSION
from tests.deploy.files import (
    CHART,
    COMPOSE,
    DEPLOY,
    DOCKERFILE,
    OUR_SERVICES,
    ROOT,
    SECONDS_BEYOND_THE_DRAIN,
    VALUES,
    settings_named_in,
)
from tests.plugins.cases import cases
from tests.support.live import LiveGateway
from tests.test_docs import VARIABLES

SCHEMAS = ROOT / "tests" / "schemas"
IGNORED = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
SECRETS = ("database_url", "redis_url", "secret_key", "key_peppers", "key_encryption_keys")


def test_every_setting_that_is_named_exists():
    written = [path.read_text() for path in DEPLOY.rglob("*") if path.is_file()]

    named = settings_named_in(*written)

    assert {"TOLLGATE_DRAIN_SECONDS", "TOLLGATE_KEY_PEPPERS", "DATABASE_URL"} <= named
    assert sorted(named - set(VARIABLES)) == []


# The image


def test_the_image_installs_hashed_wheels_only_and_ends_without_rights():
    assert "--require-hashes --only-binary :all:" in DOCKERFILE
    assert re.findall(r"(?m)^USER (.+)$", DOCKERFILE) == ["10001:10001"]
    last = DOCKERFILE.rpartition("\nUSER ")[2]
    assert not re.search(r"(?m)^(RUN|COPY|ADD) ", last)


def test_the_image_runs_its_program_itself_so_that_it_gets_the_signals():
    commands = re.findall(r"(?m)^\s*(?:ENTRYPOINT|CMD) (.+)$", DOCKERFILE)

    assert len(commands) == 3
    assert all(isinstance(json.loads(command), list) for command in commands)


def test_the_image_holds_what_is_listed_and_nothing_else():
    assert IGNORED[1] == "*"
    kept = [line.removeprefix("!") for line in IGNORED if line.startswith("!")]
    assert [name for name in kept if not (ROOT / name).exists()] == []
    assert not {"tests", "bench", "var", ".git"} & {name.split("/")[0] for name in kept}


def test_the_image_holds_every_package_of_the_project():
    packages = {path.parent.name for path in ROOT.glob("*/apps.py")} | {"templates", "manage.py"}

    assert packages <= {line.removeprefix("!") for line in IGNORED}


# Compose


def test_the_compose_file_is_one():
    schema = json.loads((SCHEMAS / "compose-spec-2021-10-30.json").read_text())

    jsonschema.Draft201909Validator(schema).validate(COMPOSE)


@cases("name", OUR_SERVICES)
def test_each_process_is_without_rights_and_has_time_to_drain(name: str):
    service = OUR_SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "/tmp" in service["tmpfs"]
    drain = int(service["environment"]["TOLLGATE_DRAIN_SECONDS"])
    assert service["stop_grace_period"] == f"{drain + SECONDS_BEYOND_THE_DRAIN}s"


@cases("name", OUR_SERVICES)
def test_no_secret_stands_in_an_environment(name: str):
    secret = {"DATABASE_URL", "REDIS_URL", "TOLLGATE_SECRET_KEY", "TOLLGATE_KEY_PEPPERS"}
    secret.add("TOLLGATE_KEY_ENCRYPTION_KEYS")
    environment = OUR_SERVICES[name]["environment"]

    assert not secret & set(environment)
    files = {environment[f"{variable}_FILE"] for variable in secret}
    assert files == {f"/run/secrets/{file}" for file in OUR_SERVICES[name]["secrets"]}


def test_nothing_starts_before_the_tables_are_there():
    for name in set(OUR_SERVICES) - {"migrate"}:
        wants = OUR_SERVICES[name]["depends_on"]["migrate"]["condition"]
        assert wants == "service_completed_successfully", name
    assert OUR_SERVICES["migrate"]["restart"] == "no"


def test_each_spool_has_its_volume_and_its_reader():
    """`serve` reads its own; a worker's is read by a process beside it that is stopped after it."""
    data = {
        name: [place.split(":")[0] for place in service.get("volumes", [])]
        for name, service in OUR_SERVICES.items()
    }
    worker, ingest = OUR_SERVICES["worker"], OUR_SERVICES["worker-ingest"]

    assert data["gateway"] == ["gateway"]
    assert data["worker"] == data["worker-ingest"] == ["worker"]
    assert {"gateway", "worker"} <= set(COMPOSE["volumes"])
    assert "worker-ingest" in worker["depends_on"]
    assert worker["hostname"] == ingest["hostname"]  # `doctor` looks for an ingester on each host


def test_only_the_gateway_is_reached_from_outside_and_databases_reach_nobody():
    assert [name for name, it in COMPOSE["services"].items() if "ports" in it] == ["gateway"]
    assert COMPOSE["services"]["gateway"]["ports"] == ["${TOLLGATE_LISTEN:-127.0.0.1:8000}:8000"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert COMPOSE["services"]["postgres"]["networks"] == ["inside"]
    assert COMPOSE["services"]["redis"]["networks"] == ["inside"]


def make_secrets(home: Path) -> dict[str, str]:
    subprocess.run([DEPLOY / "compose-secrets", home], check=True, capture_output=True)
    return {path.name: path.read_text() for path in (home / "secrets").iterdir()}


def test_the_secrets_that_are_made_can_be_used_and_stay(tmp_path: Path):
    made = make_secrets(tmp_path)

    environment = Env({f"{name.upper()}_FILE": f"{tmp_path}/secrets/{name}" for name in SECRETS})
    assert environment.redis_url("REDIS_URL") is not None
    assert "@postgres:5432/tollgate" in made["database_url"]
    assert made["postgres_password"].strip() in made["database_url"]
    assert made["redis_conf"].split()[1] in made["redis_url"]
    for name in ("key_peppers", "key_encryption_keys"):
        assert list(keyring.parse(made[name], name)) == ["k1"]
    declared = {secret["file"].rpartition("/")[2] for secret in COMPOSE["secrets"].values()}
    assert declared == set(made)
    assert make_secrets(tmp_path) == made


def test_only_the_owner_comes_to_the_secrets_and_containers_may_read_them(tmp_path: Path):
    make_secrets(tmp_path)
    secrets = tmp_path / "secrets"

    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets.iterdir()} == {0o444}


def test_two_installations_share_no_secret(tmp_path: Path):
    one, other = make_secrets(tmp_path / "one"), make_secrets(tmp_path / "other")

    assert not set(one.values()) & set(other.values())


# The chart


def test_each_value_of_the_chart_is_in_its_schema_and_the_schema_refuses_others():
    schema = json.loads((CHART / "values.schema.json").read_text())

    def compare(values: dict, of: dict, path: str) -> None:
        assert of.get("additionalProperties") is False, path
        assert set(values) <= set(of["properties"]), path
        for name, value in values.items():
            below = of["properties"][name]
            if isinstance(value, dict) and "properties" in below:
                compare(value, below, f"{path}.{name}")

    compare(VALUES, schema, "values")
    jsonschema.validate({**VALUES, "existingSecret": "tollgate"}, schema)


@cases(
    ("given", "names"),
    [
        ({"existingSecret": ""}, "existingSecret"),
        ({"replicas": 3}, "replicas"),
        ({"config": {"TOLLGATE_TASKS": "embedded"}}, "TOLLGATE_TASKS"),
        ({"config": {"TOLLGATE_MAX_BODY_BYTES": 33554432}}, "33554432"),
        ({"config": {"PATH": "/bin"}}, "PATH"),
        ({"image": {"digest": "latest"}}, "latest"),
        ({"secretNames": ["DATABASE_URL"]}, "DATABASE_URL"),
        ({"drainSeconds": 0}, "0"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(given: dict, names: str):
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = {**VALUES, "existingSecret": "tollgate", **given}

    [error, *_] = jsonschema.Draft7Validator(schema).iter_errors(values)

    assert names in f"{list(error.absolute_path)} {error.message}"


def test_the_versions_of_chart_image_and_program_are_one():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert version == VERSION
    assert f'appVersion: "{version}"' in (CHART / "Chart.yaml").read_text()
    assert f"ARG VERSION={version}\n" in DOCKERFILE
    assert COMPOSE["services"]["gateway"]["image"] == f"${{TOLLGATE_IMAGE:-tollgate:{version}}}"


def test_the_health_check_tells_a_server_that_answers_from_one_that_does_not(gateway: LiveGateway):
    check = [sys.executable, "-I", "-S", str(DEPLOY / "healthcheck.py")]

    def code(port: int) -> int:
        return subprocess.run([*check, str(port)], check=False).returncode

    assert code(1) == 1  # nobody listens there
    assert code(gateway.port) == 0
