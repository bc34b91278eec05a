"""Every door and every protocol, the toy among them, behind one running gateway."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway_project import asgi
from gateway_project.sandbox import protocols as sandbox
from gateway_project.sandbox.faults import PREFIX
from responses_api.consumers import serve_door
from responses_api.doors.plan import build_bridges
from responses_api.doors.registry import BRIDGES, DOORS
from routing.models import Alias, Provider
from routing.protocols import PROTOCOLS
from tenants.models import UsageRow
from tests.responses_api.doors import toy
from tests.support import ledger, rows
from tests.support.live import LiveGateway
from tests.support.rows import Customer

Rows = Callable[[], list[UsageRow]]


@pytest.fixture(autouse=True)
def toy_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the toy, as a line in each registry would at import."""
    monkeypatch.setitem(DOORS, toy.NAME, toy.DOOR)
    monkeypatch.setitem(PROTOCOLS, toy.NAME, toy.PROTOCOL)
    for pair, bridge in build_bridges(DOORS.values(), PROTOCOLS.values()).items():
        if toy.NAME in pair:
            monkeypatch.setitem(BRIDGES, pair, bridge)
    monkeypatch.setitem(asgi.TABLE, ("POST", f"/v1/{toy.DOOR.path}"), serve_door(toy.DOOR))
    monkeypatch.setitem(sandbox.PROTOCOLS, toy.SANDBOX_PATH, toy.SANDBOX)


@pytest.fixture
def customer(gateway: LiveGateway) -> Customer:
    """A tenant, and a provider of each protocol."""
    ledger.begin_here(gateway)
    for protocol in PROTOCOLS:
        rows.provider(protocol, gateway.sandbox.base_url)
    return rows.customer("acme")


@pytest.fixture
def booked(gateway: LiveGateway) -> Rows:
    """The rows of the calls made so far."""
    return lambda: ledger.rows(gateway)


def offer(protocol: str, played: str = "good") -> str:
    """An alias of a provider that speaks this, and what the sandbox plays there."""
    name = f"{played}-{protocol}"
    if not Alias.objects.filter(name=name).exists():
        model = played if played == "good" else PREFIX + played
        rows.alias(name, (Provider.objects.get(name=f"sandbox-{protocol}"), model))
    return name
