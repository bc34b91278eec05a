"""Limits by network address: of all traffic, and of wrong keys."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from django.contrib.auth.models import User
from websockets.exceptions import InvalidStatus

from gateway_project.lib import hosts, rates
from gateway_project.lib.client_address import TrustedProxies
from tenants.access.access import OPERATOR
from tenants.keys.doorkeeper import Doorkeeper, limits_of
from tenants.members import invitations
from tenants.models import Tenant
from tests.support.client import client_of
from tests.support.live import LiveGateway
from tests.support.rows import Customer
from tests.support.sockets import opened
from tests.tenants.limits.conftest import Clock

Configure = Callable[..., None]
WRONG = {"authorization": "Bearer tg_live_0123456789_wrong"}
CHAT = {"model": "sandbox-chat", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def configure(gateway: LiveGateway, pass_time: Clock) -> Configure:
    """Set the doorkeeper's limits; addresses are then whatever X-Forwarded-For says."""

    def to(all_traffic: str = "none", failures: str = "none") -> None:
        keeper = Doorkeeper(
            gateway.worker.services.gate,
            gateway.worker.authenticator,
            trusted_proxies=TrustedProxies([hosts.network("127.0.0.1/32")]),
            all_traffic=rates.parse(all_traffic),
            failures=rates.parse(failures),
        )
        gateway.change(doorkeeper=keeper)

    return to


def ask(
    gateway: LiveGateway, address: str, headers: dict[str, str], path: str = "chat/completions"
) -> httpx.Response:
    with client_of(gateway, None, **headers, **{"x-forwarded-for": address}) as client:
        return client.get(path) if path == "models" else client.post(path, json=CHAT)


@pytest.mark.parametrize("path", ["chat/completions", "responses", "models"])
def test_who_sends_too_many_wrong_keys_is_told_to_wait(
    gateway: LiveGateway, configure: Configure, pass_time: Clock, path: str
) -> None:
    configure(failures="5 requests/minute")
    answers = [ask(gateway, "203.0.113.5", WRONG, path) for _ in range(7)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 2
    error = answers[-1].json()["error"]
    assert error["code"] == "rate_limit_exceeded"
    assert "network address" in error["message"]
    assert answers[-1].headers["retry-after"] == "12"
    assert answers[-1].headers["x-request-id"]
    assert ask(gateway, "203.0.113.6", WRONG, path).status_code == 401
    pass_time(12)
    assert ask(gateway, "203.0.113.5", WRONG, path).status_code == 401
    assert ask(gateway, "203.0.113.5", WRONG, path).status_code == 429


def test_wrong_passwords_count_as_wrong_keys(
    gateway: LiveGateway, configure: Configure, pass_time: Clock
) -> None:
    configure(failures="2 requests/minute")
    User.objects.create_superuser("operator", password="right")
    at = {"x-forwarded-for": "203.0.113.5"}

    def sign_in(browser: httpx.Client, password: str) -> httpx.Response:
        assert browser.get("/console/accounts/login/").status_code == 200
        form = {"login": "operator", "password": password}
        token = {"csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        return browser.post("/console/accounts/login/", data=form | token)

    with (
        client_of(gateway, None, "", **at) as operator,
        client_of(gateway, None, "", **at) as guesser,
    ):
        assert sign_in(operator, "right").status_code == 302  # which does not count
        assert [sign_in(guesser, "wrong").status_code for _ in range(2)] == [200, 200]
        refused = sign_in(guesser, "right")
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "30"
        assert refused.headers["content-type"].startswith("text/plain")
        assert "passwords" in refused.text
        assert ask(gateway, "203.0.113.5", WRONG).status_code == 429
        assert operator.get("/console/").status_code == 200  # whoever is signed in goes on
        pass_time(30)
        assert sign_in(guesser, "right").status_code == 302


def test_links_of_invitations_that_open_nothing_count_as_wrong_passwords(
    gateway: LiveGateway, configure: Configure
) -> None:
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    _, token = invitations.invite(OPERATOR, tenant, "viewer", created_by=None)
    configure(failures="2 requests/minute")
    right, wrong = (f"/console/invitations/{text}/" for text in (token.reveal(), "tg_inv_x"))

    def ask_for(path: str, address: str = "203.0.113.5") -> int:
        url = f"{gateway.root_url}{path}"
        return httpx.get(url, headers={"x-forwarded-for": address}).status_code

    assert [ask_for(right) for _ in range(4)] == [200] * 4
    assert [ask_for(wrong) for _ in range(3)] == [404, 404, 429]
    assert ask_for(right) == 429
    assert ask_for(right, "203.0.113.6") == 200


def test_no_key_is_looked_up_for_an_address_that_guesses_but_known_ones_go_on(
    gateway: LiveGateway, configure: Configure, acme: Customer
) -> None:
    configure(failures="1 requests/minute")
    gateway.catch_up()
    assert ask(gateway, "203.0.113.5", acme.headers).status_code == 200  # known from now on
    assert [ask(gateway, "203.0.113.5", WRONG).status_code for _ in range(2)] == [401, 429]
    assert ask(gateway, "203.0.113.5", acme.headers).status_code == 200
    gateway.call(gateway.worker.forget)
    assert ask(gateway, "203.0.113.5", acme.headers).status_code == 429
    assert ask(gateway, "203.0.113.6", acme.headers).status_code == 200
    assert ask(gateway, "203.0.113.5", acme.headers).status_code == 200


def test_good_keys_do_not_count_as_failed(
    gateway: LiveGateway, configure: Configure, acme: Customer
) -> None:
    configure(failures="1 requests/minute")
    for _ in range(3):
        gateway.call(gateway.worker.forget)
        assert ask(gateway, "203.0.113.5", acme.headers).status_code == 200
        assert ask(gateway, "203.0.113.5", acme.headers, "models").status_code == 200


@pytest.mark.parametrize("path", ["chat/completions", "models"])
def test_all_traffic_of_an_address_is_counted_whatever_it_is(
    gateway: LiveGateway, configure: Configure, acme: Customer, path: str
) -> None:
    configure(all_traffic="3 requests/minute")
    statuses = [
        ask(gateway, "203.0.113.5", headers, path).status_code
        for headers in (acme.headers, WRONG, acme.headers, acme.headers)
    ]
    assert statuses == [200, 401, 200, 429]
    assert ask(gateway, "203.0.113.6", acme.headers, path).status_code == 200


@pytest.mark.parametrize("path", ["chat/completions", "responses", "responses/compact"])
def test_a_wrong_method_counts_like_any_request(
    gateway: LiveGateway, configure: Configure, path: str
) -> None:
    configure(all_traffic="2 requests/minute")
    sent = {"x-forwarded-for": "203.0.113.5"}
    url = f"{gateway.base_url}/{path}"
    assert [httpx.delete(url, headers=sent).status_code for _ in range(3)] == [405, 405, 429]


def test_pages_count_and_their_files_do_not(gateway: LiveGateway, configure: Configure) -> None:
    configure(all_traffic="2 requests/minute")
    sent = {"x-forwarded-for": "203.0.113.5"}

    def status(path: str) -> int:
        return httpx.get(f"{gateway.root_url}{path}", headers=sent).status_code

    assert [status("/static/console.css") for _ in range(3)] == [404] * 3
    assert [status("/console/accounts/login/") for _ in range(3)] == [200, 200, 429]
    assert status("/healthz") == 200


def test_a_handshake_counts_like_any_request(
    gateway: LiveGateway, configure: Configure, acme: Customer
) -> None:
    configure(all_traffic="3 requests/minute")
    headers = {**acme.headers, "x-forwarded-for": "203.0.113.5"}
    with opened(gateway, headers) as socket:
        socket.turn()
        socket.turn()
        assert socket.refused() == (429, "rate_limit_exceeded")
    with pytest.raises(InvalidStatus) as refused, opened(gateway, headers):
        pass
    assert refused.value.response.status_code == 429


def test_an_open_socket_goes_on_when_its_neighbours_guess(
    gateway: LiveGateway, configure: Configure, acme: Customer
) -> None:
    configure(failures="1 requests/minute")
    headers = {**acme.headers, "x-forwarded-for": "203.0.113.5"}
    with opened(gateway, headers) as socket:
        assert [ask(gateway, "203.0.113.5", WRONG).status_code for _ in range(2)] == [401, 429]
        gateway.call(gateway.worker.forget)
        socket.turn()


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:203.0.113.5", "203.0.113.5", True),
        ("203.0.113.5", "203.0.113.6", False),
        ("", "", True),
    ],
)
def test_an_address_of_ipv6_stands_for_its_network(one: str, other: str, is_same: bool) -> None:
    of = rates.parse("1 requests/minute")
    both = limits_of("address", one, of), limits_of("address", other, of)
    assert (both[0].all == both[1].all) == is_same
