"""The sandbox's routes beside generation: counting and compacting, as OpenAI and Anthropic do it."""

from __future__ import annotations

import httpx
import pytest

from gateway_project.sandbox import SandboxServer
from tests.plugins.cases import cases

TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
ROUTES: dict[str, dict] = {
    "/responses/input_tokens": {"input": "Hello you"},
    "/responses/compact": {"input": "Hello you"},
    "/messages/count_tokens": {"messages": [{"role": "user", "content": "Hello you"}]},
}
each_route = cases("path", ROUTES)


async def ask(http, path, model="sandbox", **fields):
    return await http.post(path, json={"model": model, **ROUTES[path], **fields})


async def test_input_tokens_are_counted_as_they_would_be_billed(openai_client):
    asked = {"model": "sandbox", "input": "Hello you", "instructions": "Be kind."}
    counted = await openai_client.responses.input_tokens.count(**asked)
    answer = await openai_client.responses.create(**asked)
    assert counted.object == "response.input_tokens"
    assert counted.input_tokens == answer.usage.input_tokens == 5


async def test_anthropic_counts_without_a_limit_of_the_answer(http):
    answer = await ask(http, "/messages/count_tokens", system="Be kind.")
    assert answer.json() == {"input_tokens": 5}
    assert "request-id" in answer.headers


async def test_compacting_keeps_the_user_messages_and_seals_the_rest(openai_client):
    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"}
    made = await openai_client.responses.compact(
        model="sandbox",
        input=[
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "You said: Hello"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "x"},
            {"role": "user", "content": [image]},
        ],
    )
    first, second, last = made.output
    assert (made.object, made.created_at) == ("response.compaction", 1_800_000_000)
    assert [part.text for part in first.content] == ["Hello"]
    assert [part.detail for part in second.content] == ["low"]
    assert last.type == "compaction"
    assert last.id.startswith("cmp_")
    assert last.encrypted_content.startswith("gAAAAAB")
    assert made.usage.total_tokens > 0


async def test_what_was_compacted_can_be_sent_back(openai_client):
    made = await openai_client.responses.compact(model="sandbox", input="Hello")
    # The SDK knows output items only, and warns of the user's words among them.
    items = [item.model_dump(exclude_none=True, warnings=False) for item in made.output]
    answer = await openai_client.responses.create(
        model="sandbox", input=[*items, {"role": "user", "content": "And now?"}]
    )
    assert answer.output_text == "You said: And now?"


@cases("stream", [False, True])
async def test_a_trigger_at_the_end_is_answered_with_one_compaction_item(openai_client, stream):
    asked = {
        "model": "sandbox",
        "input": [{"role": "user", "content": "Hello"}, {"type": "compaction_trigger"}],
        "tools": [TOOL],
        "tool_choice": "required",
    }
    if stream:
        async with await openai_client.responses.create(**asked, stream=True) as events:
            kinds = {event.type: event async for event in events}
        answer = kinds["response.completed"].response
        assert kinds["response.output_item.done"].item.type == "compaction"
    else:
        answer = await openai_client.responses.create(**asked)
    assert [item.type for item in answer.output] == ["compaction"]


@each_route
async def test_a_call_is_logged_like_every_other(sandbox, http, path):
    assert (await ask(http, path, stream=True)).status_code == 200
    await sandbox.idle()
    call = sandbox.calls[-1]
    assert (call.path, call.model, call.stream, call.ended) == (
        f"/v1{path}", "sandbox", False, "completed",
    )  # fmt: skip
    assert (call.status, call.text_bytes_sent, call.events_sent) == (200, 0, 0)
    assert (call.usage is not None) == (path == "/responses/compact")


@each_route
async def test_a_request_that_lacks_something_is_refused(http, path):
    assert (await http.post(path, json=ROUTES[path])).status_code == 400
    assert (await http.post(path, json={"model": "sandbox"})).status_code == 400
    assert (await http.post(path, content=b"{")).status_code == 400
    assert (await http.get(path)).status_code == 405


@each_route
async def test_a_wrong_key_is_refused(path):
    async with (
        SandboxServer(require_key="sk-1") as server,
        httpx.AsyncClient(base_url=server.base_url) as client,
    ):
        assert (await ask(client, path)).status_code == 401


@each_route
@cases(("fault", "status"), [("400", 400), ("429", 429), ("500", 500), ("529", 529), ("502", 502)])
async def test_faults_play_here_too(sandbox, http, path, fault, status):
    assert (await ask(http, path, f"sandbox-fault-{fault}")).status_code == status
    await sandbox.idle()
    assert sandbox.calls[-1].ended == f"fault:{fault}"


@each_route
async def test_a_broken_body_is_broken_here_too(http, path):
    answer = await ask(http, path, "sandbox-fault-bad-json-body")
    assert answer.status_code == 200
    with pytest.raises(ValueError, match="Expecting"):
        answer.json()


@each_route
async def test_a_bare_server_has_no_such_route_but_answers(http, path):
    answer = await ask(http, path, "sandbox-bare")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == f"Invalid URL (POST /v1{path})"
    answered = await http.post("/responses", json={"model": "sandbox-bare", "input": "Hi"})
    assert answered.status_code == 200


async def test_numbers_are_the_same_every_time(http):
    answers = [(await ask(http, "/responses/input_tokens")).json() for _ in range(3)]
    assert answers == [answers[0]] * 3
