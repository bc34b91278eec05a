"""Make an installation of an older version by running it: its data directory, database and books.

    .venv/bin/python -m tests.upgrade.making.make CHECKOUT sqlite|postgres [--python PROGRAM]

CHECKOUT is a worktree of that version (`git worktree add ../old 2849a78`), PROGRAM a Python with its locked
requirements. `postgres` needs DATABASE_URL, pg_dump and redis-server. What is made is described in
tests/upgrade/README.md.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import psycopg
import redis
from websockets.sync.client import connect

from tests.support.redis_server import RedisServer

Json = dict[str, Any]
HERE = Path(__file__).parent
SEPTEMBER = datetime(2026, 9, 14, 10, tzinfo=UTC)
OCTOBER = datetime(2026, 10, 20, 15, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 26, 18, tzinfo=UTC)
# Secrets are sealed for a provider's address, so the test must serve the sandbox at the same one.
PORTS = {"sqlite": 28_410, "postgres": 28_420}
READY = "Tollgate serves "
PATIENCE_SECONDS = 60.0


class Old:
    """The older version, with a data directory; what it runs believes that it is another time."""

    def __init__(self, checkout: Path, python: str, data: Path, kind: str, more: dict[str, str]):
        self.checkout, self.python, self.data, self.more = checkout, python, data, more
        self.port = PORTS[kind]
        self.ahead = 0.0
        self.keys: dict[str, str] = {}

    def go_to(self, then: datetime) -> None:
        self.ahead = then.timestamp() - time.time()

    def now(self) -> datetime:
        return datetime.fromtimestamp(time.time() + self.ahead, UTC)

    @property
    def variables(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": os.environ["HOME"],
            "PYTHONPATH": str(HERE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DJANGO_SETTINGS_MODULE": "then",
            "THEN_AHEAD_SECONDS": repr(self.ahead),
            "TOLLGATE_DATA_DIR": str(self.data),
            "TOLLGATE_SANDBOX_PORT": str(self.port),
            "TOLLGATE_LOG_FORMAT": "json",
            "TOLLGATE_SPOOL_LEAST_FREE_PERCENT": "0",
            **self.more,
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.python, "manage.py", *arguments],
            cwd=self.checkout,
            env=self.variables,
            stdout=subprocess.PIPE,
            text=True,
        )

    def manage(self, *arguments: str) -> str:
        ended = subprocess.run(
            [self.python, "manage.py", *arguments],
            cwd=self.checkout,
            env=self.variables,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return ended.stdout

    def answer(self, *arguments: str) -> Any:
        return json.loads(self.manage(*arguments, "--json"))

    def answers(self, *commands: list[str]) -> list[Any]:
        """Return what each of several commands answers, run in one process."""
        answers: list[Any] = self.rows("answers", list(commands))
        return answers

    def rows(self, part: str, commands: Sequence[list[str]] = ()) -> Any:
        hook = f"http://127.0.0.1:{self.port + 1}/hook"
        given = {"keys": self.keys, "hook": hook, "commands": commands}
        script = f"PART, GIVEN = {part!r}, {given!r}\n" + (HERE / "rows.txt").read_text()
        return json.loads(self.manage("shell", "--no-imports", "-v", "0", "-c", script))


class Gateway:
    """A gateway of the older version, which serves until it is stopped or killed."""

    def __init__(self, old: Old) -> None:
        self.old = old
        self.process = old.start("serve", "--quickstart", "--port", "0")
        assert self.process.stdout is not None
        announced = next(line for line in self.process.stdout if line.startswith(READY))
        self.url = announced.removeprefix(READY).partition("/v1")[0]
        self.http = httpx.Client(timeout=PATIENCE_SECONDS, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(40)

    def ask(self, key: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        names["authorization"] = f"Bearer {self.old.keys[key]}"
        return self.http.request(method, f"{self.url}/v1/{path}", json=body, headers=names)

    def post(self, key: str, path: str, **body: Any) -> Json:
        answer = self.ask(key, "POST", path, body)
        assert answer.status_code == 200, answer.text
        return {} if body.get("stream") else answer.json()

    def get(self, key: str, path: str) -> Json:
        answer = self.ask(key, "GET", path)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    @contextmanager
    def stream(self, key: str, path: str, **body: Any) -> Iterator[httpx.Response]:
        headers = {"authorization": f"Bearer {self.old.keys[key]}"}
        body["stream"] = True
        with self.http.stream(
            "POST", f"{self.url}/v1/{path}", json=body, headers=headers
        ) as answer:
            assert answer.status_code == 200
            yield answer

    def pid(self, name: str) -> int:
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        (found,) = (int(pid) for pid in listed.split() if name in comm(int(pid)))
        return found

    def kill(self) -> None:
        """Kill all at once: a stopped supervisor starts nothing anew and says no last word."""
        os.kill(self.process.pid, signal.SIGSTOP)
        for pid in (self.pid("worker"), self.pid("ingest"), self.process.pid):
            os.kill(pid, signal.SIGKILL)


def comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text()


def until(holds: Any) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def said(text: str) -> list[Json]:
    return [{"role": "user", "content": text}]


def set_up(old: Old) -> None:
    """Two tenants beside the one of `quickstart`, and what belongs to them."""
    old.keys["default"] = old.answer("quickstart")["api_key"]
    old.more["OWN_KEY"] = "secret-of-acme"
    old.more["SEALED_KEY"] = "secret-of-the-platform"
    url = f"http://127.0.0.1:{old.port}/v1"
    provider = ["--protocol", "chat", "--base-url", url, "--allow-private", "--secret-env"]
    tenants = (("Acme", "America/New_York"), ("Globex", "Europe/Berlin"))
    priced = ("sandbox-chat", "sandbox-anthropic", "sturdy", "endless", "kept", "sealed", "*")
    price = ["--input", "900", "--output", "3600", "--cache-read", "90"]
    keys = {
        "acme": ["--tenant", "acme"],
        "globex": ["--tenant", "globex"],
        "narrow": ["--tenant", "acme", "--aliases", "sandbox-chat"],
        "revoked": ["--tenant", "globex"],
    }
    targets = {
        "sealed": ["sealed/sandbox-1"],
        "sturdy": ["sandbox-chat/sandbox-fault-500", "sandbox-chat/sandbox-1"],
        "endless": ["sandbox-chat/sandbox-fault-never-ending"],
        "down": ["sandbox-responses/sandbox-fault-500"],
    }
    answers = old.answers(
        *(
            ["create_tenant", name, "--time-zone", zone, "--retention-days", "3650"]
            for name, zone in tenants
        ),
        ["add_provider", "own", *provider, "OWN_KEY", "--tenant", "acme"],
        ["add_provider", "sealed", *provider, "SEALED_KEY"],
        ["add_alias", "mine", "--tenant", "acme", "--target", "own/sandbox-1"],
        ["add_alias", "kept", "--resumable", "--target", "sandbox-anthropic/sandbox-1"],
        *(
            ["add_alias", alias, *(f"--target={target}" for target in behind)]
            for alias, behind in targets.items()
        ),
        *(["set_price", "--alias", alias, *price] for alias in priced),
        *(["create_key", "--name", name, *options] for name, options in keys.items()),
    )
    del old.more["OWN_KEY"], old.more["SEALED_KEY"]
    old.keys |= dict(zip(keys, (made["key"] for made in answers[-len(keys) :]), strict=True))
    revoked = old.keys["revoked"].split("_")[2]
    old.answer("revoke_key", revoked, "--reason", "left the team")
    old.rows("configure")


def use(old: Old) -> str:
    """Calls of every kind, booked; the request id of one."""
    with Gateway(old) as gateway:
        for key, text in (
            ("acme", "Good morning"),
            ("globex", "Guten Morgen"),
            ("default", "Hello"),
        ):
            for alias in ("sandbox-chat", "sandbox-responses", "sandbox-anthropic"):
                gateway.post(key, "chat/completions", model=alias, messages=said(text), user="u-1")
                gateway.post(key, "responses", model=alias, input=text * 9, stream=True)
            gateway.post(key, "chat/completions", model="sturdy", messages=said(text))
        gateway.post("acme", "chat/completions", model="mine", messages=said("Ours"))
        gateway.post("globex", "chat/completions", model="sealed", messages=said("Sealed"))
        fields = {"metadata": {"team": "blue"}, "service_tier": "flex"}
        answer = gateway.ask(
            "acme", "POST", "responses", {"model": "sandbox-responses", "input": "Tagged", **fields}
        )
        narrow = {"model": "sandbox-chat", "messages": said("Hi"), "max_completion_tokens": 16}
        gateway.ask("narrow", "POST", "chat/completions", narrow)
        gateway.ask("globex", "POST", "responses", {"model": "down", "input": "Hi"})
        with gateway.stream(
            "globex", "chat/completions", model="endless", messages=said("[pace=5]")
        ) as left:
            next(left.iter_raw())
    old.answer("ingest", "--once")
    return str(answer.headers["x-request-id"])


def close(old: Old, month: str, *issued: str) -> None:
    old.answers(
        *(
            ["close_period", "--tenant", tenant, "--month", month, "--force"]
            for tenant in ("acme", "globex", "default")
        ),
        *(["issue_invoices", "--tenant", tenant] for tenant in issued),
    )


def months(old: Old) -> None:
    """September is issued, October issued for one tenant and a draft for another; November goes on."""
    old.go_to(SEPTEMBER)
    set_up(old)
    first = use(old)
    old.go_to(OCTOBER)
    grant = ("--tenant", "acme", "--amount", "0.50", "--reference", "order 1", "--paid")
    old.answer("grant_credit", *grant)
    close(old, "2026-09", "acme", "globex")
    old.rows("credit_note")
    tokens = ("--tokens", "input_fresh=120,output_visible=30", "--reason", "miscounted")
    old.answer("correct_usage", first, *tokens)
    second = use(old)
    old.answer("correct_usage", second, "--void", "--reason", "a test")
    deferred, _ = old.rows("defer")
    old.answer("settle_deferred", deferred, "--tokens", "input_fresh=500,output_visible=200")
    old.go_to(NOVEMBER)
    gift = ("--tenant", "globex", "--amount", "5.00", "--reference", "gift")
    old.answer("grant_credit", *gift, "--expires", "2027-06-01")
    close(old, "2026-10", "acme")
    use(old)


def converse(gateway: Gateway) -> Json:
    """Return what a client may come back for, and what it was told."""
    paths: list[tuple[str, str]] = []

    def create(key: str, **body: Any) -> str:
        made = gateway.post(key, "responses", **body)
        paths.append((key, f"responses/{made['id']}"))
        paths.append((key, f"responses/{made['id']}/input_items"))
        return str(made["id"])

    first = create("acme", model="sandbox-chat", input="My name is Ada.")
    second = create(
        "acme", model="sandbox-anthropic", input="I like tea.", previous_response_id=first
    )
    tip = create("acme", model="sandbox-responses", input="And cake.", previous_response_id=second)
    create("acme", model="sandbox-chat", input="No, coffee.", previous_response_id=first)
    tool = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}
    called = create(
        "acme", model="sandbox-chat", input="Weather?", tools=[tool], tool_choice="required"
    )
    conversation = str(gateway.post("globex", "conversations", metadata={"topic": "tea"})["id"])
    for text in ("Hello.", "Go on."):
        create("globex", model="sandbox-anthropic", input=text, conversation=conversation)
    paths += [("globex", f"conversations/{conversation}")]
    paths += [("globex", f"conversations/{conversation}/items")]
    completion = gateway.post(
        "globex",
        "chat/completions",
        model="sandbox-chat",
        messages=said("Keep this."),
        store=True,
        metadata={"kept": "yes"},
    )["id"]
    paths += [("globex", f"chat/completions/{completion}")]
    paths += [("globex", f"chat/completions/{completion}/messages")]
    compacted = gateway.post(
        "acme", "responses/compact", model="sandbox-chat", input=said("Heron.")
    )
    with gateway.stream("acme", "responses", model="kept", input="Stream this.") as streamed:
        events = streamed.read().decode()
    kept = re.search(r"resp_[0-9a-f]{48}", events)
    assert kept
    body = {"model": "sandbox-chat", "input": "Only once."}
    once = gateway.ask("acme", "POST", "responses", body, idempotency_key="order-1")
    return {
        "stored": [[key, path, gateway.get(key, path)] for key, path in paths],
        "tip": tip,
        "called": called,
        "conversation": conversation,
        "compacted": compacted["output"],
        "stream": [kept[0], gateway.ask("acme", "GET", f"responses/{kept[0]}?stream=true").text],
        "once": [body, once.json()],
    }


def in_background(gateway: Gateway, alias: str, text: str) -> str:
    made = gateway.post("acme", "responses", model=alias, input=text, background=True)
    return str(made["id"])


def is_running(gateway: Gateway, response_id: str) -> bool:
    return gateway.get("acme", f"responses/{response_id}")["status"] == "in_progress"


def over_websocket(gateway: Gateway) -> None:
    url = gateway.url.replace("http", "ws") + "/v1/responses"
    headers = {"authorization": f"Bearer {gateway.old.keys['acme']}"}
    with connect(url, additional_headers=headers, proxy=None) as socket:
        body = {"type": "response.create", "model": "sandbox-chat", "input": "A turn"}
        socket.send(json.dumps(body))
        while json.loads(socket.recv())["type"] != "response.completed":
            pass


def leave_unread(gateway: Gateway) -> None:
    """Calls whose records nobody has read: of all three protocols, and with the fallback's two legs."""
    os.kill(gateway.pid("ingest"), signal.SIGSTOP)
    for key in ("acme", "globex"):
        for alias in ("sandbox-chat", "sandbox-responses", "sandbox-anthropic", "sturdy"):
            gateway.post(key, "responses", model=alias, input="Unread")
        gateway.post(key, "chat/completions", model="sandbox-chat", messages=said("x"), stream=True)
    gateway.post("acme", "chat/completions", model="mine", messages=said("Unread, ours"))
    over_websocket(gateway)


def die(old: Old, broker: str | None) -> Json:
    """The last day: everything is under way when all processes are killed."""
    old.more["TOLLGATE_BACKGROUND_RUNS"] = "1"
    begun: list[Iterator[bytes]] = []
    with ExitStack() as running:
        gateway = running.enter_context(Gateway(old))
        told = converse(gateway)
        maker = None if broker is None else old.start("background_worker")
        done = in_background(gateway, "sandbox-chat", "Tell me by webhook")
        until(lambda: gateway.get("acme", f"responses/{done}")["status"] == "completed")
        told["stored"].append(
            ["acme", f"responses/{done}", gateway.get("acme", f"responses/{done}")]
        )
        leave_unread(gateway)
        told["running"] = in_background(gateway, "endless", "[pace=20]")
        until(lambda: is_running(gateway, told["running"]))
        if maker is not None:
            maker.kill()
            maker.wait(10)
        told["queued"] = in_background(gateway, "sandbox-anthropic", "Nobody has begun this")
        for key in ("acme", "globex"):
            body = {"model": "endless", "messages": said("[pace=2]"), "user": "abandoned"}
            left = running.enter_context(gateway.stream(key, "chat/completions", **body))
            begun.append(left.iter_raw())  # an iterator that is dropped closes its connection
            for _ in range(80):
                next(begun[-1])
        gateway.kill()
        told["stopped_at"] = old.now().isoformat()
    del old.more["TOLLGATE_BACKGROUND_RUNS"]
    if broker is not None:
        told["messages"] = queued_tasks(old, broker)
    return told


def queued_tasks(old: Old, broker: str) -> Json:
    """Every message of this version's, as it lies in Redis."""
    old.rows("send_tasks")
    with redis.Redis.from_url(broker) as client:
        queues = ("tollgate", "tollgate.background")
        return {queue: [json.loads(raw) for raw in client.lrange(queue, 0, -1)] for queue in queues}


def books(old: Old) -> Json:
    """Return the older version's own books, once it has read everything."""
    old.answer("ingest", "--once")
    assert old.answer("ledger_check")["ok"]
    names = [
        f"{month} {tenant} {by}"
        for month in ("2026-09", "2026-10", "2026-11")
        for tenant in ("acme", "globex", "default")
        for by in ("alias", "key", "model")
    ]
    asked = [name.split() for name in names]
    reports = old.answers(
        *(["usage_report", "--month", m, "--tenant", tenant, "--by", by] for m, tenant, by in asked)
    )
    exported = old.manage("export_usage", "--from", "2026-09-01", "--to", "2026-12-01")
    rows = [json.loads(line) for line in exported.splitlines()]
    return {"reports": dict(zip(names, reports, strict=True)), "rows": rows, **old.rows("tell")}


def copied(old: Old, home: Path) -> Old:
    """Copy the data for another run, so that what is packed stays unread."""
    data = home / "copy"
    shutil.copytree(old.data, data)
    more = dict(old.more)
    if "DATABASE_URL" in more:
        more["DATABASE_URL"] = new_database(more["DATABASE_URL"], "upgrade_copy", name_of(more))
    copy = Old(old.checkout, old.python, data, "sqlite", more)
    copy.port, copy.ahead, copy.keys = old.port, old.ahead, old.keys
    return copy


def name_of(variables: dict[str, str]) -> str:
    return urlsplit(variables["DATABASE_URL"]).path.strip("/")


def new_database(server: str, name: str, template: str = "template1") -> str:
    """Make a new database and return its URL."""
    drop(name)
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
    return urlsplit(server)._replace(path=f"/{name}").geturl()


def drop(name: str) -> None:
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())


def dump(url: str) -> bytes:
    """Plain SQL that any client can send: no commands of psql, no settings of one version of the server."""
    options = ("--no-owner", "--no-acl", "--no-comments", "--inserts", "--rows-per-insert=500")
    text = subprocess.run(["pg_dump", *options, url], stdout=subprocess.PIPE, check=True).stdout
    unwanted = (b"\\", b"SET transaction_timeout")
    return b"\n".join(line for line in text.split(b"\n") if not line.startswith(unwanted))


def pack(path: Path, data: Path, more: dict[str, bytes]) -> None:
    """A data directory without what is made anew (static files, locks of commands), and further files."""

    def nobody(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        return None if info.name.startswith(("data/static", "data/.quickstart")) else info

    with tarfile.open(path, "w:xz") as archive:
        archive.add(data, "data", filter=nobody)
        for name, content in more.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def make(checkout: Path, python: str, kind: str, home: Path) -> None:
    with ExitStack() as running:
        more: dict[str, str] = {}
        broker = None
        if kind == "postgres":
            server = RedisServer(home)
            server.start()
            running.callback(server.stop)
            broker = server.url
            more["DATABASE_URL"] = new_database(os.environ["DATABASE_URL"], "upgrade_made")
            running.callback(drop, "upgrade_made")
            running.callback(drop, "upgrade_copy")
            more |= {"REDIS_URL": broker, "TOLLGATE_TASKS": "celery"}
        old = Old(checkout, python, home / "data", kind, more)
        old.data.mkdir(mode=0o700)
        months(old)
        told = die(old, broker)
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=checkout,
            stdout=subprocess.PIPE,
            check=True,
        )
        told |= {"commit": commit.stdout.decode().strip(), "port": old.port, "keys": old.keys}
        files = {} if broker is None else {"dump.sql": dump(more["DATABASE_URL"])}
        copy = copied(old, home)
        told["books"] = books(copy)
        files["told.json"] = json.dumps(told, indent=1).encode()
        made = HERE.parent / told["commit"]
        made.mkdir(exist_ok=True)
        pack(made / f"{kind}.tar.xz", old.data, files)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkout", type=Path)
    parser.add_argument("kind", choices=tuple(PORTS))
    parser.add_argument("--python", default=sys.executable)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tollgate-upgrade-") as home:
        make(options.checkout.resolve(), options.python, options.kind, Path(home))


if __name__ == "__main__":
    main()
