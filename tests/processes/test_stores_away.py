"""A database that goes away, and comes back: calls that need not be stored go on, and none is lost."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway_project.sandbox import SandboxServer
from tests.plugins.tiers import by_tier
from tests.processes.conftest import Prepared
from tests.processes.served import Served, environment, eventually, manage, shell
from tests.support import client, grammar, wire
from tests.support.client import question
from tests.support.databases import copy_migrated
from tests.support.wire import Wire

ROWS = """
import json
from tenants.models import Budget
from tests.responses_api.accounting.conftest import price
from tests.support import rows
customer = rows.customer("spender")
for protocol in rows.PROTOCOLS:
    rows.alias("sandbox-" + protocol, (rows.provider(protocol, {url!r}), "sandbox-1"))
    price("sandbox-" + protocol, "sandbox-1")
Budget.objects.create(tenant=customer.tenant, name="all", amount_nano=10**12, period="total")
print(json.dumps([customer.key.public_id, customer.secret]))
"""
# Keys are fresh for 30 s; a worker that knows them longer is what only the proof waits for.
HELD = "[chunks=60] [pace=600000]"  # until the provider is told to hurry
BRIEFLY = "[wait=50]"  # so that the calls of seconds are no hundreds
AWAY_SECONDS = by_tier(default=5, ci=5, proof=40)
LOCKED_SECONDS = by_tier(default=5, ci=5, proof=10)
BOOKED = """
import json
from django.db.models import Sum
from tenants.models import BudgetWindow, UsageRow
print(json.dumps([
    UsageRow.objects.count(),
    UsageRow.objects.aggregate(Sum("charge_nano"))["charge_nano__sum"],
    BudgetWindow.objects.get().spent_nano,
]))
"""


class Proxy:
    """Stands before a server, and can take it away: connections break, and new ones are refused."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = self._listening(0)
        self.port: int = self._listener.getsockname()[1]
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._accept()

    def take_away(self) -> None:
        self._close(self._listener)
        with self._lock:
            gone, self._sockets = self._sockets, set()
        for each in gone:
            self._close(each)

    def bring_back(self) -> None:
        self._listener = self._listening(self.port)
        self._accept()

    @staticmethod
    def _listening(port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        return listener

    @staticmethod
    def _close(one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()

    def _accept(self) -> None:
        threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(self._target)
                with self._lock:
                    self._sockets |= {client, server}
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
        for each in (source, target):
            self._close(each)


@contextlib.contextmanager
def postgres_away(proxy: Proxy) -> Iterator[None]:
    proxy.take_away()
    try:
        yield
    finally:
        proxy.bring_back()


@contextlib.contextmanager
def sqlite_locked(data_dir: Path) -> Iterator[None]:
    """Another process writes, and does not come to an end."""
    writer = sqlite3.connect(data_dir / "tollgate.sqlite3", isolation_level=None, timeout=30)
    writer.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        writer.execute("ROLLBACK")
        writer.close()


def furnished(variables: dict[str, str], provider: SandboxServer) -> Prepared:
    """With rows in a migrated database."""
    provider.calls.clear()
    key_id, secret = shell(variables, ROWS.format(url=provider.base_url))
    return Prepared(Path(variables["TOLLGATE_DATA_DIR"]), key_id, secret)


def went_on_without(
    served: Served,
    buyer: Prepared,
    provider: SandboxServer,
    away: contextlib.AbstractContextManager[None],
    seconds: float,
    is_red: bool,
) -> int:
    """Calls while the database is away, whether or not `/readyz` shows it; how many there were in all."""
    assert client.ask(served, "responses", buyer, "sandbox-chat", store=True).status_code == 200
    running = Wire(served.root_url)
    body = question("responses", "sandbox-responses", HELD, stream=True)
    running.send(wire.request("responses", buyer, {**body, "store": True}))
    running.wait_for(b"response.output_text.delta")
    with away:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            answer = client.ask(served, "responses", buyer, "sandbox-chat", BRIEFLY, store=False)
            assert answer.status_code == 200, answer.text
        provider.hurry(HELD)
        final = grammar.check(grammar.read(running.answer().body))
        assert (final["status"], final["store"]) == ("completed", False)
        before = len(provider.calls)
        refused = client.ask(served, "responses", buyer, "sandbox-chat", store=True)
        assert refused.status_code == 503
        assert '"store": false' in refused.json()["error"]["message"]
        assert len(provider.calls) == before
        assert served.ready().json()["checks"]["database"] is not is_red
    eventually(lambda: served.is_ready)
    ask = partial(client.ask, served, "responses", buyer, "sandbox-chat", store=True)
    eventually(lambda: ask().status_code == 200)
    return len(provider.calls)


def assert_all_is_booked(served: Served, buyer: Prepared, calls: int, **variables: str) -> None:
    served.signal()
    assert served.wait() == 0
    found = environment(buyer.data_dir, **variables)
    manage(found, "ingest", "--once")
    booked, charged, spent = shell(found, BOOKED)
    assert booked == calls
    assert charged == spent > 0


@pytest.mark.postgres
@pytest.mark.long
@pytest.mark.some_of("calls without their database")
def test_calls_go_on_without_postgresql(
    tmp_path: Path, migrated_postgres: str, provider: SandboxServer
) -> None:
    address = urlsplit(migrated_postgres)
    proxy = Proxy(address.hostname or "127.0.0.1", address.port or 5432)
    user = address.netloc.rpartition("@")[0]
    behind = address._replace(netloc=f"{user}@127.0.0.1:{proxy.port}").geturl()
    buyer = furnished(environment(tmp_path, DATABASE_URL=migrated_postgres), provider)
    with Served(environment(tmp_path, DATABASE_URL=behind)) as served:
        calls = went_on_without(served, buyer, provider, postgres_away(proxy), AWAY_SECONDS, True)
        assert_all_is_booked(served, buyer, calls, DATABASE_URL=migrated_postgres)


@pytest.mark.long
@pytest.mark.some_of("calls without their database")
def test_calls_go_on_while_sqlite_is_locked(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, provider: SandboxServer
) -> None:
    buyer = furnished(copy_migrated(tmp_path_factory, tmp_path), provider)
    with Served(environment(tmp_path)) as served:
        calls = went_on_without(
            served, buyer, provider, sqlite_locked(tmp_path), LOCKED_SECONDS, False
        )
        assert_all_is_booked(served, buyer, calls)
