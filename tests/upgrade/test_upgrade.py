"""An installation of 2849a78 that was killed with -9 at work goes on under this version, on its own data:
`serve --quickstart`, which is what `make up` runs. README.md says how that data was made.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import redis

from gateway_project.sandbox import SandboxServer
from tests.plugins.services import URLS
from tests.plugins.tiers import SEED, TIER, Tier
from tests.processes.conftest import new_database
from tests.processes.served import Program, Served, eventually, shell
from tests.support import schema
from tests.support.databases import migrated_directory, migrated_template, url_of
from tests.support.patience import GIVE_UP_SECONDS
from tests.support.receiver import Receiver
from tests.upgrade.crowd import CROWD, Crowd, free_port
from tests.upgrade.installation import Installation, restore, unpacked, upstream

Json = dict[str, Any]

READ = """
import json
from tests.upgrade import reading
print(json.dumps(reading.books(*json.loads({given!r}))))
"""
# CI upgrades one of the two, as the commit's seed says, where it has the services for both.
LEFT_OUT = (
    random.Random(f"{SEED} upgrade").choice(("sqlite", "postgres"))
    if TIER is Tier.CI and URLS["postgres"] and URLS["redis"]
    else ""
)
FINAL = {"completed", "failed", "incomplete", "cancelled"}
DATABASE = "tollgate.sqlite3"
CASTS = re.compile(r"::(?:character varying|text)(?:\[\])?|[()]")
# An installation with rows has its first month later than a new one.
MONTHS = re.compile(
    r"tenants_usagerow_\d{4}_\d\d|ATTACH PARTITION public.tenants_usagerow_before FOR"
)


class Client:
    """The clients of the installation, with the keys they were given then."""

    def __init__(self, served: Served, keys: dict[str, str]) -> None:
        self._url = f"{served.root_url}/v1"
        self._keys = keys
        self._http = httpx.Client(timeout=GIVE_UP_SECONDS, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def ask(
        self, key: str, method: str, path: str, body: Json | None = None, **headers: str
    ) -> httpx.Response:
        headers["authorization"] = f"Bearer {self._keys[key]}"
        return self._http.request(method, f"{self._url}/{path}", json=body, headers=headers)

    def get(self, key: str, path: str) -> Json:
        answer = self.ask(key, "GET", path)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def create(self, key: str, **body: Any) -> Json:
        answer = self.ask(key, "POST", "responses", body)
        assert answer.status_code == 200, answer.text
        made: Json = answer.json()
        return made

    def chat(self, key: str, model: str) -> int:
        said = [{"role": "user", "content": "Hi"}]
        body = {"model": model, "messages": said, "max_completion_tokens": 16}
        return self.ask(key, "POST", "chat/completions", body).status_code


@contextmanager
def serving(old: Installation, port: int = 0) -> Iterator[tuple[Served, Client]]:
    with Served(old.variables, "--quickstart", "--port", str(port)) as served:
        client = Client(served, old.keys)
        try:
            yield served, client
        finally:
            client.close()


def assert_keys_work(client: Client, sandbox: SandboxServer) -> None:
    """Each reaches what it reached, and upstreams get the secrets that were sealed for them."""
    for key in ("acme", "globex", "default"):
        for model in ("sandbox-chat", "sandbox-responses", "sandbox-anthropic", "sturdy"):
            assert client.chat(key, model) == 200, (key, model)
    assert client.chat("narrow", "sandbox-chat") == 200
    assert client.chat("narrow", "sandbox-anthropic") == 404
    assert client.chat("revoked", "sandbox-chat") == 401
    for key, model in (("acme", "mine"), ("globex", "sealed"), ("default", "sealed")):
        assert client.chat(key, model) == 200
    sent = {call.headers.get("authorization", "") for call in sandbox.calls}
    assert sent == {
        "",
        *(f"Bearer secret-of-{owner}" for owner in ("acme", "globex", "the-platform")),
    }
    assert client.chat("globex", "mine") == 404


def assert_kept_is_kept(client: Client, told: Json) -> None:
    for key, path, body in told["stored"]:
        assert client.get(key, path) == body, path
    response_id, events = told["stream"]
    assert client.ask("acme", "GET", f"responses/{response_id}?stream=true").text == events


def assert_conversations_go_on(client: Client, sandbox: SandboxServer, told: Json) -> None:
    """Messages from before the upgrade are sent upstream with new ones."""
    for fields, known in (
        ({"previous_response_id": told["tip"]}, "My name is Ada."),
        ({"input": [*told["compacted"], {"role": "user", "content": "Go on."}]}, "Heron"),
    ):
        body = {"model": "sandbox-chat", "input": "Go on.", **fields}
        assert client.create("acme", **body)["status"] == "completed"
        assert any(known in str(call.body) and "Go on." in str(call.body) for call in sandbox.calls)
    (call_id,) = (
        item["call_id"]
        for key, path, body in told["stored"]
        if path == f"responses/{told['called']}"
        for item in body["output"]
        if item["type"] == "function_call"
    )
    output = [{"type": "function_call_output", "call_id": call_id, "output": "Sunny."}]
    client.create(
        "acme", model="sandbox-anthropic", input=output, previous_response_id=told["called"]
    )
    client.create("globex", model="sandbox-chat", input="And?", conversation=told["conversation"])
    items = client.get("globex", f"conversations/{told['conversation']}/items?limit=100")["data"]
    assert len(items) == 6


def assert_a_key_is_answered_once(client: Client, sandbox: SandboxServer, told: Json) -> None:
    body, answer = told["once"]
    calls = len(sandbox.calls)
    again = client.ask("acme", "POST", "responses", body, **{"idempotency-key": "order-1"})
    assert (again.status_code, again.json()) == (200, answer)
    assert len(sandbox.calls) == calls


def ended(client: Client, response_id: str) -> Json:
    path = f"responses/{response_id}"
    eventually(lambda: client.get("acme", path)["status"] in FINAL, 60)
    return client.get("acme", path)


def assert_runs_have_ended(client: Client, told: Json) -> None:
    """Queued runs are made; those that a killed process was making fail as lost."""
    assert ended(client, told["queued"])["status"] == "completed"
    lost = ended(client, told["running"])
    assert lost["status"] == "failed"
    assert "was lost" in lost["error"]["message"]


def assert_deliveries_arrive(receiver: Receiver, told: Json) -> None:
    """Deliveries arrive: those that nobody was there to receive, and those of runs that ended since."""

    def heard() -> set[tuple[str, str]]:
        events = [json.loads(received.body) for received in tuple(receiver.received)]
        return {(event["type"], event["data"]["id"]) for event in events}

    (waiting,) = (
        body["id"] for _, _, body in told["stored"] if body.get("background") and body.get("output")
    )
    expected = {
        ("response.completed", waiting),
        ("response.completed", told["queued"]),
        ("response.failed", told["running"]),
    }
    eventually(lambda: heard() >= expected)


def read(old: Installation, messages: list[Json]) -> Json:
    given = [list(old.books["reports"]), old.told["stopped_at"], messages]
    now: Json = shell(old.variables, READ.format(given=json.dumps(given)))
    assert now["tasks"] == ["SUCCESS"] * len(messages)
    return now


def assert_books_agree(old: Installation, now: Json) -> None:
    """Every row that the older version wrote, or would have written from what was unread, is there once and
    says the same. Sums, invoices and credit follow from the rows."""
    then = old.books
    unread = [row for row in then["rows"] if row["recorded_at"] > old.told["stopped_at"]]
    assert {row["status"] for row in unread} == {"completed", "failed", "abandoned"}
    before = [row for row in now["rows"] if row["opened_at"] < old.told["stopped_at"]]
    assert len(before) == len(then["rows"])
    rows = {row["id"]: row for row in before}
    for row in then["rows"]:
        del row["recorded_at"]
        assert_same(rows[row["id"]], row)
    for name, report in then["reports"].items():
        for found, group in zip(now["reports"][name], report["rows"], strict=True):
            assert_same(found, group)
    for name in ("invoices", "lines", "periods", "credit"):
        assert now[name] == then[name], name
    assert now["rerating"] == now["leases"] == 0
    assert now["ledger_check"] == {"ok": True, "differences": []}
    assert now["doctor"]["ok"], now["doctor"]
    assert {delivery["state"] for delivery in now["deliveries"]} == {"delivered"}


def assert_same(now: Json, then: Json) -> None:
    """Columns may have come since."""
    assert {name: now[name] for name in then} == then


def assert_budgets_agree(old: Installation, now: Json) -> None:
    """Budgets count what was spent before the upgrade and what was charged since."""
    spent = {(w["budget__name"], w["starts_at"]): w for w in now["windows"]}
    since = [row for row in now["rows"] if row["opened_at"] >= old.told["stopped_at"]]
    narrow = old.keys["narrow"].split("_")[2]
    for window in old.books["windows"]:
        name, starts_at = window["budget__name"], window["starts_at"]
        tenant = "globex" if name == "Idle" else "acme"
        charged = sum(
            row["charge_nano"]
            for row in since
            if row["tenant_slug"] == tenant and (name != "Trial" or row["key_public_id"] == narrow)
        )
        is_running = window["ends_at"] is None or window["ends_at"] > old.told[
            "stopped_at"
        ].replace("T", " ")
        found = spent[name, starts_at]
        assert found["reserved_nano"] == 0
        assert found["spent_nano"] == window["spent_nano"] + charged * is_running, window


def assert_it_goes_on(
    old: Installation, sandbox: SandboxServer, receiver: Receiver, *beside: str
) -> dict[str, str]:
    """Serve, with these commands beside it, until everything that was under way has ended; then stop. Return
    the calls that clients made while it was being upgraded, by the rows they must have."""
    with ExitStack() as running:
        # Clients that knew the old version ask on, from before the migration until they have been answered.
        port = free_port()
        crowd = running.enter_context(Crowd(f"http://127.0.0.1:{port}", old.keys).asking())
        served, client = running.enter_context(serving(old, port))
        crowd.wait_until_answered()
        assert crowd.turned_away > 0
        programs = [running.enter_context(Program(old.variables, command)) for command in beside]
        assert_kept_is_kept(client, old.told)
        assert_a_key_is_answered_once(client, sandbox, old.told)
        assert_keys_work(client, sandbox)
        assert_conversations_go_on(client, sandbox, old.told)
        assert_runs_have_ended(client, old.told)
        assert_deliveries_arrive(receiver, old.told)
        assert [program.stop() for program in programs] == [0] * len(programs)
        served.signal()
        assert served.wait(GIVE_UP_SECONDS) == 0
        assert not [line for line in served.lines if line.get("level") == "error"]
    return crowd.answered


def assert_each_call_has_its_row(now: Json, answered: dict[str, str]) -> None:
    """Check that what clients were answered during the upgrade is booked once, whatever they tried before."""
    rows = [row for row in now["rows"] if row["end_user"] == CROWD]
    assert sorted(row["id"].replace("-", "") for row in rows) == sorted(answered)
    assert {row["status"] for row in rows} == {"completed"}
    assert {row["tenant_slug"] for row in rows} == set(answered.values())


def queued(kind: str, home: Path) -> list[Json]:
    """The tasks in the queues of an installation."""
    queues = unpacked(kind, home).told["messages"].values()
    return [message for queue in queues for message in queue]


def tier_of(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.proof if kind == LEFT_OUT else pytest.mark.long


def besides_months(statements: set[str]) -> set[str]:
    """Return the statements without casts, which PostgreSQL puts elsewhere once it has read its own dump."""
    kept = {statement for statement in statements if not MONTHS.search(statement)}
    return {CASTS.sub("", statement) for statement in kept}


@tier_of("sqlite")
def test_an_installation_on_sqlite_goes_on_where_it_was_killed(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    old = unpacked("sqlite", tmp_path)
    port = old.told["port"]
    with upstream(port) as sandbox, Receiver(at_port=port + 1) as receiver:
        answered = assert_it_goes_on(old, sandbox, receiver)
        now = read(old, queued("postgres", tmp_path / "other"))
    assert_each_call_has_its_row(now, answered)
    assert_books_agree(old, now)
    assert_budgets_agree(old, now)
    made_new = schema.of_sqlite(migrated_directory(tmp_path_factory) / DATABASE)
    assert schema.of_sqlite(tmp_path / "data" / DATABASE) == made_new


@tier_of("postgres")
@pytest.mark.postgres
@pytest.mark.redis
def test_one_on_postgresql_goes_on_with_what_its_queues_hold(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    broker = urlsplit(URLS["redis"])._replace(path="/12").geturl()
    with new_database() as name, redis.Redis.from_url(broker) as queues:
        old = unpacked(
            "postgres",
            tmp_path,
            DATABASE_URL=url_of(name),
            REDIS_URL=broker,
            TOLLGATE_TASKS="celery",
        )
        restore(url_of(name), tmp_path)
        queues.flushdb()
        for queue, messages in old.told["messages"].items():
            for message in messages:
                message["headers"]["expires"] = None  # a worker's clock is the real one
            queues.rpush(queue, *map(json.dumps, messages))
        port = old.told["port"]
        with upstream(port) as sandbox, Receiver(at_port=port + 1) as receiver:
            answered = assert_it_goes_on(old, sandbox, receiver, "background_worker", "beat")
            now = read(old, [])
        assert_each_call_has_its_row(now, answered)
        assert_books_agree(old, now)
        assert_budgets_agree(old, now)
        made_new = schema.of_postgres(url_of(migrated_template(tmp_path_factory)))
        assert besides_months(schema.of_postgres(url_of(name))) == besides_months(made_new)
        queues.flushdb()
