"""The port of metrics: who may have it, what it answers, and when nobody does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from bench.processes import free_port
from gateway_project.lib.env import Env, SettingError
from gateway_project.lib.metrics import names, snapshots
from gateway_project.lib.metrics.snapshots import SnapshotFile, Sums, as_snapshot, encode
from gateway_project.lib.metrics.tables import Tables
from gateway_project.lib.secret import Secret
from gateway_project.serving.metrics import report as module
from gateway_project.serving.metrics import server as server_module
from gateway_project.serving.metrics.port import MetricsPort
from gateway_project.serving.metrics.report import Report, may_read
from gateway_project.serving.metrics.server import MOST_CLIENTS, MetricsServer
from gateway_project.serving.supervisor import PortInUse
from routing.models import Provider
from tests.support.patience import GIVE_UP_SECONDS, until

TOKEN = Secret("a-token-for-prometheus")


@pytest.fixture
def report(tmp_path: Path, transactional_db: None) -> Report:
    return Report(tmp_path / "metrics", tmp_path / "spools", frozenset(), 10_000)


@pytest.fixture
def address(report: Report, tmp_path: Path) -> Iterator[str]:
    """A port of metrics that wants the token."""
    port = MetricsPort("127.0.0.1", free_port(), tmp_path / "metrics")
    server = MetricsServer(port.listener, report, TOKEN)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{port.listener.getsockname()[1]}"
    server.shutdown()
    thread.join()
    server.server_close()
    port.close()


def get(
    url: str, token: str = TOKEN.reveal(), method: str = "GET", accept: str = "*/*"
) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}", "accept": accept}
    return httpx.request(method, url, headers=headers, timeout=GIVE_UP_SECONDS, trust_env=False)


def test_gateways_on_the_same_data_share_a_port_and_others_are_told_that_it_is_taken(
    tmp_path: Path,
) -> None:
    place = "127.0.0.1", free_port()
    with ExitStack() as opened:
        for _ in range(2):
            opened.callback(MetricsPort(*place, tmp_path / "ours").close)
        with pytest.raises(PortInUse, match=rf"127\.0\.0\.1:{place[1]}"):
            MetricsPort(*place, tmp_path / "theirs")
    MetricsPort(*place, tmp_path / "theirs").close()


def test_metrics_are_told_to_who_has_the_token_alone(address: str) -> None:
    answer = get(f"{address}/metrics?x=1")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "tollgate_database_up 1" in answer.text.splitlines()
    opened = get(f"{address}/metrics", accept="application/openmetrics-text")
    assert opened.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert opened.text.endswith("# EOF\n")
    for refused in (get(f"{address}/metrics", "wrong"), get(f"{address}/"), get(f"{address}/x")):
        assert refused.status_code == 404
    assert get(f"{address}/metrics", method="POST").status_code == 501


def test_clients_that_send_a_byte_now_and_then_keep_nobody_out(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = address.rpartition("/")[2].split(":")
    with ExitStack() as opened:
        slow = [
            opened.enter_context(socket.create_connection((place[0], int(place[1]))))
            for _ in range(MOST_CLIENTS)
        ]
        for each in slow:
            each.sendall(b"GET /metrics HTTP/1.0\r\nx: ")

        def are_ended() -> bool:
            for each in tuple(slow):
                try:
                    each.sendall(b"x")
                except OSError:
                    slow.remove(each)
            return not slow

        monkeypatch.setattr(server_module, "PATIENCE_SECONDS", 0.0)
        until(are_ended)
        monkeypatch.undo()
        until(lambda: _answers(address))


def _answers(address: str) -> bool:
    """Tell whether there is a place again: those who had theirs give it back a moment later."""
    try:
        return get(f"{address}/metrics").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    ("given", "is_right"),
    [
        (b"Bearer a-token-for-prometheus", True),
        (b"bearer a-token-for-prometheus ", True),
        (b"Basic a-token-for-prometheus", False),
        (b"a-token-for-prometheus", False),
        (b"Bearer a-token-for-prometheu", False),
        (b"Bearer \xff", False),
        (b"", False),
    ],
)
def test_only_the_whole_token_opens(given: bytes, is_right: bool) -> None:
    assert may_read(given, TOKEN) is is_right


def test_circuits_of_tenants_own_providers_are_named_to_nobody(
    report: Report, tmp_path: Path
) -> None:
    ours = Provider.objects.create(name="openai", protocol="chat", base_url="https://a.example")
    circuits = [
        ("model", ours.pk, "openai", "gpt", 2),
        ("provider", 10_000_000, "acmes-provider", "", 1),
        ("model", 10_000_000, "acmes-provider", "acmes-model", 2),
    ]
    file = SnapshotFile(tmp_path / "metrics", "worker")
    file.write(encode(as_snapshot(Tables(), kind="worker", circuits=circuits)))
    found = report.text().decode()
    assert 'tollgate_circuit_state{provider="openai",model="gpt",scope="model"} 2' in found
    assert 'tollgate_circuit_state{provider="other",scope="provider"} 1' in found
    assert "acmes" not in found
    file.close()


def test_a_worker_that_is_not_ready_shows_and_dead_ones_have_no_state(
    report: Report, tmp_path: Path
) -> None:
    told = [{"spool": True, "database": True}, {"spool": False, "database": True}]
    files = [SnapshotFile(tmp_path / "metrics", "worker") for _ in told]
    for file, ready in zip(files, told, strict=True):
        snapshot = as_snapshot(Tables(), kind="worker", ready=ready, in_flight={"stream": 2})
        file.write(encode(snapshot))
    found = report.text().decode().splitlines()
    assert 'tollgate_ready{check="spool"} 0' in found
    assert 'tollgate_ready{check="database"} 1' in found
    assert 'tollgate_in_flight{kind="stream"} 4' in found
    for file in files:
        file.close()
    after = report.text().decode().splitlines()
    assert 'tollgate_in_flight{kind="stream"} 0' in after
    assert not [
        line for line in after if line.startswith(("tollgate_ready{", "tollgate_processes{"))
    ]


def test_labels_cannot_break_out_of_their_line(report: Report, tmp_path: Path) -> None:
    tables = Tables()
    tables.count(names.REQUESTS, "chat", 'x"} 1\ntollgate_up 5', "completed")
    file = SnapshotFile(tmp_path / "metrics", "worker")
    file.write(encode(as_snapshot(tables, kind="worker")))
    assert not [line for line in report.text().decode().splitlines() if line == "tollgate_up 5"]
    file.close()


def test_who_asks_while_others_wait_for_a_database_does_not_wait_for_ever(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[str] = []

    def ask_meanwhile(directory: Path, most_series: int) -> Sums:
        with pytest.raises(TimeoutError) as told:
            report.text()
        refused.append(str(told.value))
        return snapshots.add_up(directory, most_series)

    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(module, "add_up", ask_meanwhile)
    assert b"tollgate_build_info" in report.text()
    assert refused == ["they are still put together for whoever asked before"]


def test_a_port_is_a_number_and_the_url_that_kubernetes_sets_is_none() -> None:
    name = "TOLLGATE_METRICS_PORT"
    assert Env({name: "9464"}).port(name) == 9464
    assert Env({name: "tcp://10.0.0.1:9464"}).port(name) is None
    assert Env({}).port(name) is None
    for wrong in ("0", "70000", "x"):
        with pytest.raises(SettingError, match=name):
            Env({name: wrong}).port(name)
