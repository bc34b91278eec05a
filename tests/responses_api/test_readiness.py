"""`/readyz` reports on the processes beside this one."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from gateway_project.serving.peers import Peers
from tenants import heartbeats
from tenants.heartbeats import Pulse
from tests.support.live import LiveGateway
from tests.support.patience import until


def ready(gateway: LiveGateway) -> httpx.Response:
    return httpx.get(f"{gateway.root_url}/readyz")


def test_missing_processes_are_warnings_and_take_no_server_out(
    gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warnings() -> Any:
        answer = ready(gateway)
        assert (answer.status_code, answer.json()["status"]) == (200, "ready")
        return answer.json()["warnings"]

    until(lambda: ready(gateway).status_code == 200)
    monkeypatch.setattr(gateway.worker, "peers", Peers("celery"))
    until(lambda: len(warnings()) == 4)
    assert warnings()[2] == "Nothing sends the periodic tasks: run manage.py beat."
    assert "No ingester has shown a sign of life on" in warnings()[3]
    Pulse(heartbeats.INGESTER, heartbeats.BEAT, heartbeats.worker_of("tollgate")).beat()
    monkeypatch.setattr(gateway.worker, "peers", Peers("celery"))
    until(lambda: len(warnings()) == 1)
    assert "'tollgate.background'" in warnings()[0]
