"""Open circuits are seen by those who see their provider, and closed by those who may change it."""

from __future__ import annotations

import asyncio
import html
import os
import re
from typing import Any

import httpx
import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError

from gateway_project.lib.errors import UpstreamRateLimited
from gateway_project.lib.secret import Secret
from responses_api.live import circuits
from responses_api.live.circuits import Circuits
from routing import lanes
from routing.health.callers import CallerId
from routing.health.sharing import CircuitSharing
from routing.health.table import LaneTable
from routing.models import Provider, ProviderModel
from tenants.access.access import OPERATOR, access_of
from tenants.keys import api_tokens
from tenants.models import AuditEvent, Membership
from tests.support import console_session, rows
from tests.support.live import LiveGateway
from tests.support.patience import GIVE_UP_SECONDS, until
from tests.support.rows import Customer

Json = dict[str, Any]


def api(
    gateway: LiveGateway, token: Secret, method: str, path: str, **asked: Any
) -> httpx.Response:
    headers = {"authorization": f"Bearer {token.reveal()}"}
    with httpx.Client(headers=headers, timeout=GIVE_UP_SECONDS, trust_env=False) as http:
        return http.request(method, f"{gateway.root_url}/api/v1/{path}", **asked)


def hold(gateway: LiveGateway, provider: Provider, model: str = "m") -> str:
    """Have a provider's model ask to be left alone; return the circuit's name."""
    row, _ = ProviderModel.objects.get_or_create(provider=provider, upstream_id=model)
    lane = lanes.target_of(row, provider.tenant_id or 0)
    table = gateway.worker.services.lane_health

    def fail() -> None:
        passage = table.enter(lane, CallerId(1, 1))
        assert passage is not None
        passage.failed(UpstreamRateLimited("x", retry_after_seconds=600.0))
        passage.leave()

    gateway.call(fail)
    (name,) = [
        each.scope.name for each in table.open_circuits() if each.scope.provider_id == provider.pk
    ]
    return name


@pytest.fixture
def operator(gateway: LiveGateway) -> Secret:
    return api_tokens.create(OPERATOR, "operator's", ["*"])[1]


def owner_of(customer: Customer) -> Secret:
    user = User.objects.create(username=f"{customer.tenant.slug}-owner", is_staff=True)
    Membership.objects.create(user=user, tenant=customer.tenant, role="owner")
    who = access_of(user)
    return api_tokens.create(who, "o", ["*"], tenant=customer.tenant, maker_id=user.pk)[1]


def test_an_operator_sees_all_and_closes_one(gateway: LiveGateway, operator: Secret) -> None:
    name = hold(gateway, rows.provider("chat", gateway.sandbox.base_url, "alpha"))
    told: Json = api(gateway, operator, "GET", "circuits").json()
    (shown,) = told["data"]
    assert told["reach"] == "alone"
    assert (shown["circuit"], shown["kind"], shown["provider"], shown["model"]) == (
        name, "credential_model", "alpha", "m",
    )  # fmt: skip
    assert (shown["opened_by"], shown["reason"]) == ("hold", "rate_limit_exceeded")
    assert 0 < shown["seconds"] <= 600
    assert api(gateway, operator, "POST", "circuits/reset", json={"circuit": name}).json() == {
        "circuit": name
    }
    assert api(gateway, operator, "GET", "circuits").json()["data"] == []
    event = AuditEvent.objects.get(action="circuit.reset")
    assert (event.object_id, event.object_name, event.tenant_id) == (name, "alpha/m", None)


def test_a_tenant_sees_and_closes_those_of_its_own_providers(
    gateway: LiveGateway, operator: Secret
) -> None:
    acme, bob = rows.customer("acme"), rows.customer("bob")
    platforms = hold(gateway, rows.provider("chat", gateway.sandbox.base_url, "alpha"))
    own = hold(gateway, rows.provider("chat", gateway.sandbox.base_url, "own", tenant=acme.tenant))
    as_acme, as_bob = owner_of(acme), owner_of(bob)
    data = api(gateway, as_acme, "GET", "circuits").json()["data"]
    assert [each["circuit"] for each in data] == [own]
    assert api(gateway, as_bob, "GET", "circuits").json()["data"] == []
    for token, name in ((as_acme, platforms), (as_bob, platforms), (as_bob, own), (as_bob, "x")):
        answer = api(gateway, token, "POST", "circuits/reset", json={"circuit": name})
        assert answer.status_code == 404
    assert api(gateway, as_acme, "POST", "circuits/reset", json={"circuit": own}).status_code == 200
    assert [
        each["circuit"] for each in api(gateway, operator, "GET", "circuits").json()["data"]
    ] == [platforms]


@pytest.mark.parametrize("body", [{}, {"circuit": 1}, {"circuit": "x" * 5000}, {"other": "x"}])
def test_what_names_no_circuit_is_refused(
    gateway: LiveGateway, operator: Secret, body: Json
) -> None:
    answer = api(gateway, operator, "POST", "circuits/reset", json=body)
    assert answer.status_code in {400, 404}


def test_without_redis_a_command_says_where_to_look(db: None) -> None:
    with pytest.raises(CommandError, match="Circuits in the console"):
        call_command("show_circuits")
    shown = asyncio.run(circuits.see(Circuits(None, None), OPERATOR))
    assert shown.circuits == ()


@pytest.mark.redis
def test_a_command_sees_and_closes_what_workers_told_redis(
    transactional_db: None, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two processes, and the command as a third, meet in Redis alone."""
    url = settings.REDIS_URL = Secret(os.environ["REDIS_URL"])
    provider = rows.provider("chat", "http://127.0.0.1:9/v1", "alpha")
    model, _ = ProviderModel.objects.get_or_create(provider=provider, upstream_id="m")
    lane = lanes.target_of(model, 0)

    def ours(table: LaneTable) -> list[str]:  # Redis may remember those of other tests
        scopes = [each.scope for each in table.open_circuits()]
        return [each.name for each in scopes if each.provider_id == provider.pk]

    async def hold_and_see() -> None:
        here, there = LaneTable(), LaneTable()
        sharing = [CircuitSharing(url, table) for table in (here, there)]
        for each in sharing:
            each.start()
        await asyncio.to_thread(until, lambda: all(each.is_listening for each in sharing))
        passage = here.enter(lane, CallerId(1, 1))
        assert passage is not None
        passage.failed(UpstreamRateLimited("x", retry_after_seconds=600.0))
        passage.leave()
        await asyncio.to_thread(until, lambda: bool(ours(there)))
        (name,) = ours(there)
        said = await asyncio.to_thread(_said, capsys, "show_circuits")
        assert f"{name}  " in said
        assert "hold: rate_limit_exceeded  1 in a row" in said
        await asyncio.to_thread(_said, capsys, "reset_circuit", name)
        await asyncio.to_thread(until, lambda: not (ours(there) or ours(here)))
        assert name not in await asyncio.to_thread(_said, capsys, "show_circuits")
        for each in sharing:
            await each.stop()

    asyncio.run(hold_and_see())


def _said(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    capsys.readouterr()
    call_command(*command)
    return capsys.readouterr().out


def test_the_console_shows_a_circuit_and_closes_it(gateway: LiveGateway, operator: Secret) -> None:
    name = hold(gateway, rows.provider("chat", gateway.sandbox.base_url, "alpha"))
    boss = console_session.operator()
    cookies = {django_settings.SESSION_COOKIE_NAME: boss.cookie}
    address = f"{gateway.root_url}/console/circuits/"
    with httpx.Client(cookies=cookies, follow_redirects=True, timeout=GIVE_UP_SECONDS) as browser:
        page = browser.get(address)
        assert name in html.unescape(page.text)
        (token,) = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)[:1]
        said = {"circuit": name, "csrfmiddlewaretoken": token}
        assert browser.post(address, data={"circuit": name}).status_code == 403
        assert "The circuit is closed" in browser.post(address, data=said).text
        assert "not open any more" in browser.post(address, data=said).text
    assert api(gateway, operator, "GET", "circuits").json()["data"] == []
    assert AuditEvent.objects.get(action="circuit.reset").object_id == name
