"""The public Open Responses acceptance suite, its seventeen cases in our own words, against a fresh
`serve --quickstart` (what `make up` runs) and every model of its sandbox.

The suite (https://github.com/openresponses/openresponses) is not published as a package that a test run could
install. Each case sends what the suite sends and checks what it checks: the schemas of the specification, the
status, and what the output holds. tests/responses_api/websocket/test_acceptance.py looks closer at those of
the WebSocket.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from bench.processes import free_port
from tests.plugins.cases import cases
from tests.processes.served import Served, environment
from tests.support import reference
from tests.support.databases import copy_migrated
from tests.support.patience import GIVE_UP_SECONDS

Json = dict[str, Any]

MODELS = ("sandbox-chat", "sandbox-responses", "sandbox-anthropic")
TERMINAL = {"response.completed", "response.failed", "response.incomplete"}
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather for a location",
    "parameters": {
        "type": "object",
        "properties": {"location": {"type": "string", "description": "The city and state"}},
        "required": ["location"],
    },
}
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9aw"
    "AAAABJRU5ErkJggg=="
)


def message(content: Any, role: str = "user", **fields: Any) -> Json:
    return {"type": "message", "role": role, "content": content, **fields}


def assert_specified(schema: str, value: Json) -> None:
    assert reference.explain(reference.open_responses_validator(schema), value) == []


class Suite:
    """One model behind one gateway, as the suite's client sees it."""

    def __init__(self, served: Served, key: str, model: str) -> None:
        self.model = model
        self.headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        self._url = f"{served.root_url}/v1/responses"
        self._events = _event_schemas()

    def post(self, body: Json, path: str = "") -> httpx.Response:
        return httpx.post(
            self._url + path,
            json=body,
            headers=self.headers,
            timeout=GIVE_UP_SECONDS,
            trust_env=False,
        )

    def answer(self, *items: Json, **fields: Any) -> Json:
        """A whole answer to these items, with output."""
        response = self.post({"model": self.model, "input": list(items), **fields})
        assert response.status_code == 200, response.text
        found: Json = response.json()
        assert_specified("ResponseResource", found)
        assert found["output"]
        assert found["status"] == "completed"
        return found

    def check_events(self, events: list[Json]) -> Json:
        """Every event as specified; the response that completed."""
        assert events
        for event in events:
            assert_specified(self._events[event["type"]], event)
        assert events[-1]["type"] == "response.completed", events[-1]
        response: Json = events[-1]["response"]
        assert_specified("ResponseResource", response)
        return response

    def socket(self) -> ClientConnection:
        return connect(
            self._url.replace("http", "ws", 1),
            additional_headers=self.headers,
            proxy=None,
            open_timeout=GIVE_UP_SECONDS,
        )

    def turn(self, socket: ClientConnection, given: Any, **fields: Any) -> list[Json]:
        """The frames that answer one `response.create`."""
        frame = {"type": "response.create", "model": self.model, "input": given, **fields}
        socket.send(json.dumps(frame))
        frames: list[Json] = []
        while not frames or frames[-1]["type"] not in {*TERMINAL, "error"}:
            frames.append(json.loads(socket.recv(GIVE_UP_SECONDS)))
        return frames

    def completed(self, socket: ClientConnection, given: Any, **fields: Any) -> Json:
        return self.check_events(self.turn(socket, given, **fields))

    def refused(self, socket: ClientConnection, given: Any, **fields: Any) -> str:
        """The code of the error that answers a turn."""
        (frame,) = self.turn(socket, given, **fields)
        assert_specified("WebSocketErrorEvent", frame)
        code: str = frame["error"]["code"]
        return code


def _event_schemas() -> dict[str, str]:
    document = reference.json_of("schemas/openresponses-openapi-2026-04-24.json")
    schemas: Json = document["components"]["schemas"]
    names = [name for name in schemas if name.endswith("StreamingEvent")]
    return {schemas[name]["properties"]["type"]["enum"][0]: name for name in names}


def basic_response(suite: Suite) -> None:
    suite.answer(message("Say hello in exactly 3 words."))


def assistant_phase(suite: Suite) -> None:
    suite.answer(
        message("Look it up, then answer."),
        message("I am looking.", "assistant", phase="commentary"),
        message("Here it is.", "assistant", phase="final_answer"),
        message("Say it once more."),
    )


def response_output_phase_schema(suite: Suite) -> None:
    """The suite's only case that asks nobody: an answer of the specification's own."""
    assert_specified("Message", {
        "type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "phase": "final_answer",
        "content": [{"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}],
    })  # fmt: skip


def streaming_response(suite: Suite) -> None:
    body = {"model": suite.model, "input": [message("Count from 1 to 5.")], "stream": True}
    blocks = suite.post(body).text.removesuffix("\n\n").split("\n\n")
    assert blocks[-1] == "data: [DONE]"
    events = [json.loads(block.partition("\ndata: ")[2]) for block in blocks[:-1]]
    assert suite.check_events(events)["status"] == "completed"


def system_prompt(suite: Suite) -> None:
    suite.answer(message("You are a pirate. Speak like one.", "system"), message("Say hello."))


def tool_calling(suite: Suite) -> None:
    """The model chooses to call: `tool_choice` is not given."""
    question = message("What's the weather like in San Francisco?")
    output = suite.answer(question, tools=[WEATHER])["output"]
    assert [item["name"] for item in output if item["type"] == "function_call"] == ["get_weather"]


def image_input(suite: Suite) -> None:
    parts = [
        {"type": "input_text", "text": "What do you see in this image?"},
        {"type": "input_image", "image_url": PIXEL},
    ]
    suite.answer(message(parts))


def multi_turn(suite: Suite) -> None:
    suite.answer(
        message("My name is Alice."),
        message("Hello Alice! How can I help you today?", "assistant"),
        message("What is my name?"),
    )


def compact_response(suite: Suite) -> None:
    said = [message("My name is Alice."), message("Hello Alice!", "assistant")]
    body = {"model": suite.model, "input": said, "prompt_cache_key": "suite"}
    found = suite.post(body, "/compact").json()
    assert_specified("CompactResource", found)
    assert found["object"] == "response.compaction"
    assert found["usage"]
    assert "compaction" in {item["type"] for item in found["output"]}


def compact_missing_model(suite: Suite) -> None:
    assert suite.post({"input": [message("Hi")]}, "/compact").status_code in {400, 422}


def websocket_response(suite: Suite) -> None:
    with suite.socket() as socket:
        suite.completed(socket, [message("Count from 1 to 5.")])


def websocket_sequential_responses(suite: Suite) -> None:
    with suite.socket() as socket:
        first = suite.completed(socket, "Say one.", store=False)
        second = suite.completed(socket, "Say two.", store=False)
    assert first["id"] != second["id"]


def websocket_continuation(suite: Suite) -> None:
    with suite.socket() as socket:
        first = suite.completed(socket, "My name is Alice.", store=False)
        suite.completed(socket, "What is it?", previous_response_id=first["id"], store=False)


def websocket_reconnect_store_false_recovery(suite: Suite) -> None:
    with suite.socket() as socket:
        old = suite.completed(socket, "Hi", store=False)["id"]
    with suite.socket() as socket:
        code = suite.refused(socket, "Go on.", previous_response_id=old, store=False)
        suite.completed(socket, "Hi again.", store=False)
    assert code == "previous_response_not_found"


def websocket_previous_response_not_found(suite: Suite) -> None:
    with suite.socket() as socket:
        code = suite.refused(socket, "Go on.", previous_response_id="resp_nobody", store=False)
    assert code == "previous_response_not_found"


def websocket_failed_continuation_evicts_cache(suite: Suite) -> None:
    output = {"type": "function_call_output", "call_id": "call_nobody", "output": "42"}
    with suite.socket() as socket:
        first = suite.completed(socket, "Hi", store=False)
        again = {"previous_response_id": first["id"], "store": False}
        suite.refused(socket, [output], **again)
        assert suite.refused(socket, "Go on.", **again) == "previous_response_not_found"


def websocket_compact_new_chain(suite: Suite) -> None:
    said = [message("My name is Alice."), message("Hello Alice!", "assistant")]
    compacted = suite.post({"model": suite.model, "input": said}, "/compact").json()["output"]
    with suite.socket() as socket:
        suite.completed(socket, [*compacted, message("Go on.")], store=False)


CASES: tuple[Callable[[Suite], None], ...] = (
    basic_response, assistant_phase, response_output_phase_schema, streaming_response, system_prompt,
    tool_calling, image_input, multi_turn, compact_response, compact_missing_model, websocket_response,
    websocket_sequential_responses, websocket_continuation, websocket_reconnect_store_false_recovery,
    websocket_previous_response_not_found, websocket_failed_continuation_evicts_cache,
    websocket_compact_new_chain,
)  # fmt: skip


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, str]]:
    """A gateway as `make up` starts it at its first boot, after migrating, and the key it made."""
    data_dir: Path = tmp_path_factory.mktemp("fresh")
    copy_migrated(tmp_path_factory, data_dir)
    variables = environment(data_dir, TOLLGATE_SANDBOX_PORT=str(free_port()))
    with Served(variables, "--quickstart") as served:
        yield served, json.loads((data_dir / "quickstart.json").read_text())["api_key"]
        served.signal()
        served.wait()


@pytest.mark.long
@cases("model", MODELS)
def test_all_seventeen_cases_pass_on_a_fresh_gateway(fresh: tuple[Served, str], model: str) -> None:
    assert len(CASES) == 17
    for case in CASES:
        case(Suite(*fresh, model))
