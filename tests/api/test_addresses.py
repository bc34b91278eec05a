"""No address that somebody of a tenant writes into any field leads into a private network.

What counts is which `connect` calls this process makes: an audit hook sees every one, whoever makes it.
tests/routing/test_egress.py does the same for calls of models, and for what a request says.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from routing import testing
from tests.api.callers import Api, of_member, undone
from tests.console.world import World
from tests.plugins.tiers import sampled
from tests.routing.test_egress import FORBIDDEN_HOSTS, PRIVATE_ANSWERS

pytestmark = pytest.mark.django_db

_connects: list[Any] = []
_is_listening = False
_resolve = socket.getaddrinfo


def _see(event: str, arguments: tuple[Any, ...]) -> None:
    if _is_listening and event == "socket.connect" and isinstance(arguments[1], tuple):
        _connects.append(arguments[1])


@pytest.fixture(scope="module")
def audit_hook() -> None:
    """An audit hook cannot be taken away again."""
    sys.addaudithook(_see)


@pytest.fixture
def connects(audit_hook: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The addresses that were connected to; names of `.test` lead where they are said to."""
    global _is_listening  # noqa: PLW0603  # the hook is the process's

    def resolved(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        if host not in PRIVATE_ANSWERS:
            return _resolve(host, port, *rest, **options)
        return [(0, socket.SOCK_STREAM, 0, "", (each, port)) for each in PRIVATE_ANSWERS[host]]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setattr(testing, "MOST_PER_MINUTE", 1_000_000)
    _connects.clear()
    _is_listening = True
    yield _connects
    _is_listening = False


@pytest.fixture
def owner(world: World) -> Api:
    return of_member("owner", world.ours.tenant)


def webhook(api: Api, url: str, **fields: Any) -> None:
    made = api.post("webhooks", {"url": url.replace("http:", "https:"), **fields})
    if made.status_code == 201:
        assert api.post(f"webhooks/{made.json()['id']}/test").status_code == 200


def external_guardrail(api: Api, url: str, **fields: Any) -> None:
    body = {"name": "outside", "kind": "webhook", "action": "block", "url": url, **fields}
    made = api.post("guardrails", body)
    if made.status_code == 201:
        asked = {"guardrail": made.json()["id"], "text": "Hello", "external": True}
        assert api.post("guardrail-tests", asked).status_code == 200


def provider(api: Api, url: str, **fields: Any) -> None:
    body = {"name": "elsewhere", "protocol": "chat", "base_url": f"{url}/v1", **fields}
    body["auth_kind"] = "none"
    made = api.post("providers", body)
    if made.status_code == 201:
        key = made.json()["id"]
        assert api.post(f"providers/{key}/test").status_code == 200
        assert api.post(f"providers/{key}/sync").status_code == 400
        model = api.post("models", {"provider": key, "upstream_id": "m"}).json()
        assert api.post(f"models/{model['id']}/test").status_code == 200


def draft_of_a_provider(api: Api, url: str, **fields: Any) -> None:
    body = {"name": "draft", "protocol": "chat", "base_url": f"{url}/v1", **fields}
    api.post("providers/setup/test", {**body, "auth_kind": "none"})


def identity_provider(api: Api, url: str, **fields: Any) -> None:
    body = {"name": "login", "issuer": url.replace("http:", "https:"), "client_id": "c", **fields}
    made = api.post("identity-providers", body)
    if made.status_code == 201:
        cache.clear()  # how often this address asked
        answer = Client().get(reverse("identity_login", args=(made.json()["id"],)))
        assert answer.status_code == 403


FIELDS: tuple[Callable[..., None], ...] = (
    webhook, external_guardrail, provider, draft_of_a_provider, identity_provider,
)  # fmt: skip


def test_no_field_leads_a_tenant_into_a_private_network(
    world: World, owner: Api, connects: list[Any]
) -> None:
    reached = []
    for host in sampled([*FORBIDDEN_HOSTS, *PRIVATE_ANSWERS], default=4, ci=12):
        for field in FIELDS:
            with undone():
                field(owner, f"http://{host}:9")
            reached += [(field.__name__, host, each) for each in connects]
            connects.clear()
    assert reached == []


def test_an_operator_who_allows_it_is_led_there(
    world: World, operator: Api, connects: list[Any]
) -> None:
    """Otherwise the test above would prove nothing."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for field in FIELDS:
        tenant = {"tenant": world.ours.tenant.pk} if field is webhook else {}
        with undone():
            field(operator, f"http://127.0.0.1:{port}", allow_private_network=True, **tenant)
        assert ("127.0.0.1", port) in connects, field
        connects.clear()
