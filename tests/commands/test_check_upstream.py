"""check_upstream, against a real server."""

from __future__ import annotations

import pytest

from gateway_project.sandbox import SandboxServer
from tests.commands.running import answer, failed_answer, refusal, text

pytestmark = pytest.mark.django_db

KEY = "sandbox-key-0123456789"


def add(
    monkeypatch: pytest.MonkeyPatch,
    base_url: str,
    *options: str,
    name: str = "up",
    protocol: str = "chat",
    key: str = KEY,
) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", key)
    where = ("--protocol", protocol, "--base-url", base_url)
    answer("add_provider", name, *where, "--secret-env", "UPSTREAM_KEY", *options)


@pytest.mark.parametrize("protocol", ["chat", "responses", "anthropic"])
def test_a_good_upstream_answers_with_status_and_latency(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    add(monkeypatch, sandbox.base_url, "--allow-private", protocol=protocol)
    answer("add_alias", "fast", "--target", "up/sandbox-1")
    checked = answer("check_upstream", "fast")
    assert (checked["alias"], checked["ok"]) == ("fast", True)
    [target] = checked["targets"]
    assert target.pop("latency_ms") > 0
    assert target == {
        "target": "up/sandbox-1",
        "protocol": protocol,
        "ok": True,
        "status": 200,
        "error": None,
    }
    assert [call.protocol for call in sandbox.calls] == [protocol]


def test_an_upstream_s_own_words_are_told_without_the_credential(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, sandbox.base_url, "--allow-private", key="sandbox-key-wrong-0123")
    answer("add_alias", "fast", "--target", "up/sandbox-1")
    [target] = failed_answer("check_upstream", "fast")["targets"]
    assert (target["ok"], target["status"]) == (False, 401)
    assert target["error"]
    assert "sandbox-key-wrong-0123" not in target["error"]


def test_every_target_is_called_and_the_first_one_decides(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, sandbox.base_url, "--allow-private")
    targets = ("--target", "up/sandbox-1", "--target", "up/sandbox-fault-does-not-exist")
    answer("add_alias", "fast", *targets)
    checked = answer("check_upstream", "fast")
    assert [target["ok"] for target in checked["targets"]] == [True, False]
    assert "FAILED" in text("check_upstream", "fast")


def test_a_private_address_is_refused_where_the_provider_does_not_allow_it(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, sandbox.base_url)
    answer("add_alias", "fast", "--target", "up/sandbox-1")
    [target] = failed_answer("check_upstream", "fast")["targets"]
    assert target["status"] is None
    assert "the egress policy refuses the address 127.0.0.1" in target["error"]
    assert not sandbox.calls


def test_a_name_is_resolved_and_checked_too(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    base_url = sandbox.base_url.replace("127.0.0.1", "localhost")
    add(monkeypatch, base_url)
    add(monkeypatch, base_url, "--allow-private", name="allowed")
    answer("add_alias", "fast", "--target", "allowed/sandbox-1", "--target", "up/sandbox-1")
    first, second = answer("check_upstream", "fast")["targets"]
    assert first["ok"] is True
    assert "the egress policy refuses" in second["error"]


def test_a_server_that_is_not_there_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, "http://127.0.0.1:9/v1", "--allow-private")
    answer("add_alias", "fast", "--target", "up/m")
    [target] = failed_answer("check_upstream", "fast")["targets"]
    assert target["error"].startswith("ConnectError: ")


def test_a_provider_without_credential_is_not_called(sandbox: SandboxServer) -> None:
    where = ("--protocol", "chat", "--base-url", sandbox.base_url, "--allow-private")
    answer("add_provider", "up", *where)
    answer("add_alias", "fast", "--target", "up/sandbox-1")
    [target] = failed_answer("check_upstream", "fast")["targets"]
    assert target["error"] == "It has no usable credential; see 'doctor'."
    assert not sandbox.calls


def test_an_alias_that_is_not_there_is_named() -> None:
    for name in ("gone", "sandbox-chat/gone"):
        said = refusal("check_upstream", name)
        assert said.startswith(f"alias: There is no enabled alias {name!r}, and no model of that")
        assert "sync_models" in said
