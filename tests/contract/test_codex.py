"""The Codex CLI, unmodified, with the two files that `codex_profile` prints."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from responses_api.resources import codex_profile
from routing.models import Provider, ProviderModel
from tests.contract import programs
from tests.contract.programs import Ended
from tests.support import rows

Json = dict[str, Any]
Codex = Callable[..., Ended]

pytestmark = [
    pytest.mark.clients,
    pytest.mark.client_programs,
    pytest.mark.django_db(transaction=True),
]

# The only command the sandbox asks for is `echo tollgate`; Codex's own sandbox does not work in every
# container.
UNCONFINED = ("--sandbox", "danger-full-access")
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "integer"}},
    "required": ["answer"],
    "additionalProperties": False,
}
UNKNOWN_MODEL = "Model metadata for `{}` not found. Defaulting to fallback metadata"
# Models Codex knows by name, to which it offers its tools in other ways: a `custom` tool beside
# functions, and everything in an `additional_tools` item.
KNOWN_MODELS = ("gpt-5.5", "gpt-6-astra")
PATHS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "anthropic": "/v1/messages",
}


@pytest.fixture(params=["http", "websocket"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def codex(gateway, acme, protocol, transport, tmp_path) -> Codex:
    """Run `codex exec` with the profile for an alias, by default the sandbox's."""
    programs.need_node()

    def run(*arguments: str, alias: str = f"sandbox-{protocol}") -> Ended:
        websockets = transport == "websocket"
        profile = codex_profile.profile(alias, gateway.base_url, websockets=websockets)
        write(tmp_path, profile.config_path, profile.config_toml)
        write(tmp_path, profile.profile_path, profile.profile_toml)
        command: list[str | Path] = [programs.CODEX, "exec", "--profile", codex_profile.PROFILE]
        return programs.run(
            [*command, "--skip-git-repo-check", *arguments],
            tmp_path,
            **{profile.env_key: acme.secret},
        )

    return run


@pytest.fixture(autouse=True)
def came_the_way_it_was_told(gateway, transport, monkeypatch) -> Iterator[None]:
    """Every call came over the transport of the profile: nothing fell back."""
    lines: list[Json] = []
    monkeypatch.setattr(gateway.worker.services.call_log, "write", lines.append)
    yield
    gateway.idle()
    calls = [line["socket"] is not None for line in lines if line["event"] == "call"]
    assert calls
    assert set(calls) == {transport == "websocket"}


def write(home: Path, place: str, text: str) -> None:
    path = home / place.removeprefix("~/")
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def turn(ended: Ended) -> list[Json]:
    """The events of `codex exec --json`, of a turn that went well."""
    assert ended.code == 0, ended.out + ended.err
    assert not complaints(ended.err)
    events = [json.loads(line) for line in ended.out.splitlines()]
    assert events[-1]["type"] == "turn.completed"
    assert events[-1]["usage"]["input_tokens"] > 0
    assert events[-1]["usage"]["output_tokens"] > 0
    return events


def complaints(text: str) -> list[str]:
    return re.findall(r"(?im)^.*(?:\berror\b|reconnect|retry|disconnected).*$", text)


def finished(events: list[Json], kind: str) -> list[Json]:
    items = [event["item"] for event in events if event["type"] == "item.completed"]
    return [item for item in items if item["type"] == kind]


def answer(events: list[Json]) -> str:
    (message,) = finished(events, "agent_message")
    return message["text"]


def assert_steps(gateway, protocol: str, count: int) -> None:
    """One request upstream for each step of the model: nothing was reconnected or sent again."""
    gateway.idle()
    calls = [(call.path, call.stream, call.ended) for call in gateway.sandbox.calls]
    assert calls == [(PATHS[protocol], True, "completed")] * count


def known_alias(name: str, protocol: str) -> str:
    rows.alias(name, (Provider.objects.get(name=f"sandbox-{protocol}"), "sandbox-1"))
    return name


def test_a_plain_turn_prints_the_answer_and_its_tokens(codex, gateway, protocol):
    ended = codex("Hello")
    assert ended.code == 0, ended.err
    assert ended.out == "You said: Hello\n"
    assert "provider: tollgate" in ended.err
    (tokens,) = re.findall(r"tokens used\n([\d,]+)", ended.err)
    assert int(tokens.replace(",", "")) > 1000
    assert not complaints(ended.err)
    assert_steps(gateway, protocol, 1)


def test_a_command_is_run_and_its_output_read(codex, gateway, protocol):
    events = turn(codex("--json", *UNCONFINED, "[tool] Hello"))
    (command,) = finished(events, "command_execution")
    assert command["command"].endswith("'echo tollgate'")
    assert (command["exit_code"], command["aggregated_output"]) == (0, "tollgate\n")
    assert answer(events).startswith("The tool answered: ")
    assert answer(events).endswith("Output:\ntollgate\n")
    (warning,) = finished(events, "error")
    assert warning["message"].startswith(UNKNOWN_MODEL.format(f"sandbox-{protocol}"))
    assert_steps(gateway, protocol, 2)


def test_a_resumed_session_replays_what_was_said(codex, gateway, protocol):
    turn(codex("--json", *UNCONFINED, "[tool] Hello"))
    events = turn(codex("--json", "resume", "--last", "Again"))
    assert answer(events) == "You said: Again"
    assert_steps(gateway, protocol, 3)


def test_an_output_schema_shapes_the_answer(codex, gateway, protocol, tmp_path):
    ProviderModel.objects.update(capabilities=["structured_output"])
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    events = turn(codex("--json", "--output-schema", "schema.json", "Hi"))
    assert json.loads(answer(events)) == {"answer": 0}
    assert_steps(gateway, protocol, 1)


@pytest.mark.parametrize("model", KNOWN_MODELS)
def test_a_model_codex_knows_by_name_is_served_by_any_provider(codex, gateway, protocol, model):
    alias = known_alias(model, protocol)
    events = turn(codex("--json", "Hello", alias=alias))
    assert answer(events) == "You said: Hello"
    assert finished(events, "error") == []
    assert_steps(gateway, protocol, 1)


def test_a_custom_tool_beside_functions_does_not_hide_them(codex, gateway, protocol):
    alias = known_alias("gpt-5.5", protocol)
    events = turn(codex("--json", *UNCONFINED, "[tool] Hello", alias=alias))
    (command,) = finished(events, "command_execution")
    assert command["aggregated_output"] == "tollgate\n"
    assert_steps(gateway, protocol, 2)


def test_a_custom_tool_of_an_additional_namespace_gets_plain_text(codex, gateway, protocol):
    alias = known_alias("gpt-6-astra", protocol)
    events = turn(codex("--json", *UNCONFINED, "[tool] Hello", alias=alias))
    # Codex ran what the sandbox said as a script, which it is not.
    assert answer(events).startswith("The tool answered: Script failed")
    assert_steps(gateway, protocol, 2)


def test_an_exhausted_account_ends_the_turn_at_once(codex, gateway, protocol):
    fault = "sandbox-fault-429-insufficient-quota"
    rows.alias("broke", (Provider.objects.get(name=f"sandbox-{protocol}"), fault))
    ended = codex("--json", "Hello", alias="broke")
    assert ended.code == 1
    failed = json.loads(ended.out.splitlines()[-1])
    assert failed["type"] == "turn.failed"
    assert "429 Too Many Requests" in failed["error"]["message"]
    assert len(gateway.sandbox.calls) == 1


@pytest.mark.parametrize("transport", ["websocket"], indirect=True)
def test_a_connection_whose_time_is_over_is_replaced_without_a_word(codex, gateway, protocol):
    gateway.limit_sockets(lifetime=0.6)
    events = turn(codex("--json", *UNCONFINED, "[tool] [wait=700] Hello"))
    assert answer(events).endswith("Output:\ntollgate\n")
    assert_steps(gateway, protocol, 2)
