"""sync_models, against a real server."""

from __future__ import annotations

import httpx
import pytest

from gateway_project.sandbox import SandboxServer
from routing.models import Provider, ProviderModel
from routing.upstream import checked_transport
from tests.commands.running import answer, refusal, text

pytestmark = pytest.mark.django_db


def add(monkeypatch: pytest.MonkeyPatch, base_url: str, protocol: str = "chat") -> None:
    monkeypatch.setenv("UPSTREAM_KEY", "sandbox-key-0123456789")
    where = ("--protocol", protocol, "--base-url", base_url, "--allow-private")
    answer("add_provider", "up", *where, "--secret-env", "UPSTREAM_KEY")


@pytest.mark.parametrize("protocol", ["chat", "responses", "anthropic"])
def test_models_are_added_once(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    add(monkeypatch, sandbox.base_url, protocol)
    first = answer("sync_models", "up")
    assert first["provider"] == "up"
    assert first["added"]
    assert first["existing"] == []
    listed = list(ProviderModel.objects.values_list("upstream_id", flat=True))
    assert sorted(first["added"]) == sorted(listed)
    second = answer("sync_models", "up")
    assert (second["added"], second["existing"]) == ([], first["added"])
    assert "0 added" in text("sync_models", "up")


def test_a_refusal_is_told_and_nothing_is_added(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, sandbox.base_url.removesuffix("/v1") + "/nowhere")
    assert refusal("sync_models", "up").startswith(
        "provider: The models of 'up' cannot be listed: it answered 404"
    )
    assert not ProviderModel.objects.exists()


def test_an_unreachable_server_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, "http://127.0.0.1:9/v1")
    assert "cannot be listed: ConnectError" in refusal("sync_models", "up")


def test_a_missing_credential_is_told() -> None:
    Provider.objects.create(name="up", protocol="chat", base_url="https://up.example/v1")
    assert "it has no enabled credential" in refusal("sync_models", "up")


def test_an_unknown_provider_is_named() -> None:
    assert refusal("sync_models", "gone").startswith("provider: There is no provider 'gone'.")


PAGES = {
    None: {
        "data": [{"id": "claude-b"}, {"id": "claude-a"}],
        "has_more": True,
        "last_id": "claude-a",
    },
    "claude-a": {"data": [{"id": "claude-0"}, "odd"], "has_more": False, "last_id": "claude-0"},
}


@pytest.fixture
def paging_upstream(monkeypatch: pytest.MonkeyPatch) -> list[httpx.Request]:
    """Anthropic's list in two pages, at the place where the socket would be."""
    seen: list[httpx.Request] = []

    async def respond(self: object, request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=PAGES[request.url.params.get("after_id")])

    transport = checked_transport.AsyncCheckedTransport
    monkeypatch.setattr(transport, "handle_async_request", respond)
    return seen


def test_anthropic_s_pages_are_followed(
    monkeypatch: pytest.MonkeyPatch, paging_upstream: list[httpx.Request]
) -> None:
    add(monkeypatch, "https://claude.example/v1", "anthropic")
    assert answer("sync_models", "up")["added"] == ["claude-b", "claude-a", "claude-0"]
    assert [request.url.params.get("after_id") for request in paging_upstream] == [None, "claude-a"]
    headers = paging_upstream[0].headers
    assert headers["x-api-key"] == "sandbox-key-0123456789"
    assert headers["anthropic-version"] == "2023-06-01"
