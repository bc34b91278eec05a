"""Metrics of two workers as one: read over both ports, and by a real Prometheus while a worker is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from bench.processes import free_port
from tests.processes.conftest import Prepared, Serve
from tests.processes.served import Program, Served, environment, eventually, kill, manage
from tests.support.client import ask
from tests.support.patience import GIVE_UP_SECONDS
from tests.support.prometheus import PROMTOOL, Prometheus, needs_prometheus
from tests.test_monitoring import ALERTS, expressions

TOKEN = "a-token-for-prometheus"
COMPLETED = 'tollgate_requests_total{route="chat",alias="sandbox-chat",status="completed"}'


def read(url: str, token: str | None = TOKEN) -> httpx.Response:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return httpx.get(url, headers=headers, timeout=GIVE_UP_SECONDS, trust_env=False)


def completed(url: str) -> float:
    answer = read(url)
    assert answer.status_code == 200, answer.text
    found = re.search(rf"(?m)^{re.escape(COMPLETED)} (\S+)$", answer.text)
    return float(found[1]) if found else 0.0


@pytest.fixture
def measured(serve: Serve) -> tuple[Served, str]:
    """A gateway of two workers, and the address of its metrics."""
    port = free_port()
    served = serve("--workers", "2", TOLLGATE_METRICS_PORT=str(port), TOLLGATE_METRICS_TOKEN=TOKEN)
    return served, f"127.0.0.1:{port}"


def ask_both(served: Served, prepared: Prepared, data_dir: Path) -> int:
    """Ask until each worker has answered; return how often."""
    asked = 0

    def both_have_written() -> bool:
        nonlocal asked
        asked += 1
        assert ask(served, "chat", prepared, "sandbox-chat").status_code == 200
        written = [path.read_bytes() for path in (data_dir / "metrics").glob("*.snapshot")]
        return sum(b"sandbox-chat" in each for each in written) == 2

    eventually(both_have_written)
    return asked


@pytest.mark.some_of("metrics of two workers")
def test_both_ports_tell_of_both_workers_and_no_counter_falls_when_one_is_killed(
    measured: tuple[Served, str], prepared: Prepared
) -> None:
    served, target = measured
    url, on_main_port = f"http://{target}/metrics", f"{served.root_url}/metrics"
    asked = ask_both(served, prepared, prepared.data_dir)
    eventually(lambda: completed(url) == asked)
    assert completed(on_main_port) == asked
    for address in (url, on_main_port):
        assert read(address, None).status_code == read(address, "another-token").status_code == 404
    unknown = read(f"{served.root_url}/no-such-page")
    assert read(on_main_port, "another-token").text == unknown.text

    _kill_one_and_ask(served, prepared, asked, lambda: completed(url))
    assert completed(on_main_port) == asked + 1
    booked = f'tollgate_ingested_total{{result="booked"}} {asked + 1}'
    eventually(lambda: booked in read(url).text.splitlines())
    told = read(url).text
    assert 'tollgate_processes{kind="ingester"} 1' in told
    assert 'tollgate_process_resident_bytes{process="ingester"}' in told


@pytest.mark.redis
def test_a_background_worker_is_told_of_before_its_first_run(prepared: Prepared) -> None:
    variables = environment(
        prepared.data_dir,
        TOLLGATE_TASKS="celery",
        REDIS_URL=os.environ["REDIS_URL"],
        TOLLGATE_METRICS_PORT=str(free_port()),
    )
    with Program(variables, "background_worker") as worker:
        told = 'tollgate_processes{kind="background"} 1'
        eventually(lambda: told in manage(variables, "show_metrics").splitlines())
        worker.signal(signal.SIGTERM)
        assert worker.end() == 0
    assert told not in manage(variables, "show_metrics").splitlines()


def _kill_one_and_ask(
    served: Served, prepared: Prepared, asked: int, count: Callable[[], float]
) -> None:
    """Kill a worker; see that its calls stay counted, and that those of its successor come on top."""
    before = served.workers
    kill(before[0], signal.SIGKILL)
    eventually(lambda: len(served.workers) == 2 and before[0] not in served.workers)
    eventually(lambda: served.is_ready)
    assert count() == asked
    assert ask(served, "chat", prepared, "sandbox-chat").status_code == 200
    eventually(lambda: count() == asked + 1)


@pytest.mark.some_of("metrics of two workers")
def test_a_real_prometheus_reads_it_and_sees_no_counter_fall(
    measured: tuple[Served, str], prepared: Prepared, tmp_path: Path
) -> None:
    needs_prometheus()
    served, target = measured
    asked = ask_both(served, prepared, prepared.data_dir)
    with Prometheus(tmp_path, target, TOKEN) as prometheus:
        prometheus.wait_for(COMPLETED, asked)
        assert prometheus.number('tollgate_processes{kind="worker"}') == 2
        assert prometheus.number("sum(tollgate_request_seconds_count)") == asked
        assert prometheus.number('sum(tollgate_tokens_total{class="output_visible"})') > 0
        _kill_one_and_ask(served, prepared, asked, lambda: prometheus.number(COMPLETED))
        assert prometheus.number(f"resets({COMPLETED}[10m])") == 0
        assert prometheus.number("up") == 1
        for expression in expressions():
            prometheus.ask(_filled_in(expression))  # which fails where it is not understood
    checked = subprocess.run(
        [str(PROMTOOL), "check", "metrics"],
        input=read(f"http://{target}/metrics").content,
        capture_output=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_promtool_takes_the_rules_and_the_sample() -> None:
    needs_prometheus()
    sample = ALERTS.with_name("prometheus.yaml")
    for what, file in (("rules", ALERTS), ("config", sample)):
        subprocess.run([str(PROMTOOL), "check", what, str(file)], check=True, capture_output=True)


def _filled_in(expression: str) -> str:
    """Return an expression of the dashboard as Grafana sends it."""
    if found := re.match(r"label_values\((.*), \w+\)$", expression):
        expression = found[1]
    return re.sub(
        r"\$(instance|alias|provider)", ".*", expression.replace("$__rate_interval", "1m")
    )
