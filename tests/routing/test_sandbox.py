"""The sandbox upstream answers as the three vendors do, and keeps a true record of it."""

import asyncio
import json
import subprocess
import sys
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openai import AuthenticationError, NotFoundError
from pydantic import BaseModel

from gateway_project.sandbox import SandboxServer, Scripted
from tests.plugins.cases import cases
from tests.support.patience import GIVE_UP_SECONDS, NOISE_SECONDS
from tests.support.reference import json_of

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city", "days"],
}
CHAT_TOOL = {"type": "function", "function": {"name": "weather", "parameters": WEATHER}}
RESPONSES_TOOL = {"type": "function", "name": "weather", "parameters": WEATHER}
ANTHROPIC_TOOL = {"name": "weather", "input_schema": WEATHER}


class City(BaseModel):
    name: str
    population: int


def user(text):
    return [{"role": "user", "content": text}]


def events_of(response):
    """The JSON of each `data:` line, and `[DONE]` as it is."""
    lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


async def messages(http, text, **fields):
    body = {"model": "sandbox", "max_tokens": 1000, "messages": user(text), **fields}
    return await http.post("/messages", json=body)


# Chat Completions


async def test_chat_echoes_the_last_user_text(openai_client):
    answer = await openai_client.chat.completions.create(model="sandbox", messages=user("hello"))
    assert answer.choices[0].message.content == "You said: hello"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.created == 1_800_000_000
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 4)


async def test_a_chat_stream_joins_to_the_same_text(openai_client):
    stream = await openai_client.chat.completions.create(
        model="sandbox", messages=user("hello there"), stream=True
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == "You said: hello there"
    assert len({chunk.id for chunk in chunks}) == 1
    assert all("usage" not in chunk.model_fields_set for chunk in chunks)


async def test_chat_usage_is_streamed_only_if_asked_for_and_null_before(http):
    body = {"model": "sandbox", "messages": user("hello"), "stream": True}
    body["stream_options"] = {"include_usage": True}
    *chunks, last, done = events_of(await http.post("/chat/completions", json=body))
    assert done == "[DONE]"
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 6
    assert {chunk["usage"] for chunk in chunks} == {None}


async def test_chat_tools_make_a_round_trip(openai_client):
    conversation = user("[tools=2] please")
    answer = await openai_client.chat.completions.create(
        model="sandbox", messages=conversation, tools=[CHAT_TOOL]
    )
    calls = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls"
    assert [json.loads(call.function.arguments) for call in calls] == [
        {"city": "sandbox", "days": 1}
    ] * 2
    conversation.append(answer.choices[0].message.model_dump(exclude_none=True))
    conversation += [
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in calls
    ]
    answer = await openai_client.chat.completions.create(
        model="sandbox", messages=conversation, tools=[CHAT_TOOL]
    )
    assert answer.choices[0].message.content == "The tool answered: sunny / sunny"


async def test_chat_tool_deltas_name_each_call_once_and_join_to_its_arguments(openai_client):
    async with openai_client.chat.completions.stream(
        model="sandbox", messages=user("[tools=2]"), tools=[CHAT_TOOL]
    ) as stream:
        answer = await stream.get_final_completion()
    calls = answer.choices[0].message.tool_calls
    assert [call.function.name for call in calls] == ["weather", "weather"]
    assert len({call.id for call in calls}) == 2
    assert json.loads(calls[1].function.arguments) == {"city": "sandbox", "days": 1}


async def test_chat_parses_structured_output(openai_client):
    answer = await openai_client.chat.completions.parse(
        model="sandbox", messages=user("a city"), response_format=City
    )
    assert answer.choices[0].message.parsed == City(name="sandbox", population=0)


async def test_chat_stops_at_the_token_limit(openai_client):
    answer = await openai_client.chat.completions.create(
        model="sandbox", messages=user("[chunks=50]"), max_completion_tokens=10, n=2
    )
    assert [choice.finish_reason for choice in answer.choices] == ["length", "length"]
    assert answer.usage.completion_tokens == 20


async def test_chat_refuses_and_reasons_on_order(openai_client):
    answer = await openai_client.chat.completions.create(
        model="sandbox", messages=user("[refuse][reason]")
    )
    message = answer.choices[0].message
    assert message.content is None
    assert message.refusal == "I'm sorry, but I cannot assist with that request."
    assert message.reasoning_content.startswith("The user wants")


# Responses

RESPONSES_REQUESTS: dict[str, dict[str, Any]] = {
    "text": {"input": "hello there"},
    "reasoning": {"input": "hello", "reasoning": {"effort": "low", "summary": "auto"}},
    "function call": {"input": "[tools=2]", "tools": [RESPONSES_TOOL]},
    "custom tool": {"input": "[tool]", "tools": [{"type": "custom", "name": "patch"}]},
    "refusal": {"input": "[refuse]"},
    "cut": {"input": "[chunks=50]", "max_output_tokens": 20},
    "failure": {"input": "one two three four five", "model": "sandbox-fault-error-mid"},
}


async def test_responses_answers_with_all_effective_values(openai_client):
    answer = await openai_client.responses.create(
        model="sandbox", input="hello", instructions="Be kind.", temperature=0.5
    )
    assert answer.output_text == "You said: hello"
    assert (answer.status, answer.instructions, answer.temperature) == (
        "completed",
        "Be kind.",
        0.5,
    )
    assert (answer.top_p, answer.truncation, answer.tool_choice) == (1.0, "disabled", "auto")


async def test_a_responses_stream_ends_with_the_response_it_built(openai_client):
    async with openai_client.responses.stream(
        model="sandbox", input="hello there", reasoning={"effort": "high"}
    ) as stream:
        seen = [event async for event in stream]
        answer = await stream.get_final_response()
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert answer.output[0].encrypted_content
    assert answer.output_text == "You said: hello there"


@cases("request_name", RESPONSES_REQUESTS)
async def test_every_responses_event_fits_the_official_schema(http, request_name):
    schema = json_of("schemas/openai-sdk-3.52.0-response_stream_event.schema.json")
    validator = Draft202012Validator(schema)
    body = {"model": "sandbox", "stream": True} | RESPONSES_REQUESTS[request_name]
    response = await http.post("/responses", json=body)
    events = events_of(response)
    assert [problem for event in events for problem in validator.iter_errors(event)] == []
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    kinds = [line[7:] for line in response.text.splitlines() if line.startswith("event: ")]
    assert kinds == [event["type"] for event in events]


async def test_responses_cut_at_the_token_limit_is_incomplete(openai_client):
    answer = await openai_client.responses.create(
        model="sandbox", input="[chunks=50]", max_output_tokens=20
    )
    assert answer.status == "incomplete"
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.output[-1].status == "incomplete"
    assert answer.usage.output_tokens == 20


async def test_responses_parses_structured_output(openai_client):
    answer = await openai_client.responses.parse(model="sandbox", input="a city", text_format=City)
    assert answer.output_parsed == City(name="sandbox", population=0)


async def test_responses_tools_make_a_round_trip(openai_client):
    items = user("[tool]")
    answer = await openai_client.responses.create(
        model="sandbox", input=items, tools=[RESPONSES_TOOL]
    )
    call = answer.output[0]
    assert json.loads(call.arguments) == {"city": "sandbox", "days": 1}
    items += [
        call.model_dump(exclude_none=True),
        {"type": "function_call_output", "call_id": call.call_id, "output": "rain"},
    ]
    answer = await openai_client.responses.create(
        model="sandbox", input=items, tools=[RESPONSES_TOOL]
    )
    assert answer.output_text == "The tool answered: rain"


async def test_tools_in_namespaces_and_additional_tools_count_too(openai_client):
    shell = {"type": "function", "name": "exec_command", "parameters": {}, "strict": False}
    items = [{"type": "additional_tools", "role": "developer", "tools": [shell]}, *user("[tool]")]
    answer = await openai_client.responses.create(model="sandbox", input=items)
    assert (answer.output[0].name, answer.output[0].arguments) == (
        "exec_command",
        '{"cmd":"echo tollgate"}',
    )
    space = {"type": "namespace", "name": "box", "description": "", "tools": [shell]}
    answer = await openai_client.responses.create(model="sandbox", input="[tool]", tools=[space])
    assert (answer.output[0].name, answer.output[0].namespace) == ("exec_command", "box")


async def test_a_custom_tool_gets_plain_text(openai_client):
    answer = await openai_client.responses.create(
        model="sandbox", input="[tool]", tools=[{"type": "custom", "name": "patch"}]
    )
    assert answer.output[0].type == "custom_tool_call"
    assert answer.output[0].input == "plain input for patch"


# Anthropic Messages


async def test_messages_echoes_the_last_user_text(http):
    answer = (await messages(http, "hello")).json()
    assert answer["content"] == [{"type": "text", "text": "You said: hello"}]
    assert answer["stop_reason"] == "end_turn"
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (2, 4)


async def test_a_messages_stream_opens_and_closes_every_block(http):
    response = await messages(
        http, "hello", stream=True, thinking={"type": "enabled", "budget_tokens": 1024}
    )
    events = [event for event in events_of(response) if event["type"] != "content_block_delta"]
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_stop",
        "content_block_start",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert '"type":"signature_delta"' in response.text
    assert events[-2]["usage"]["output_tokens"] == 20


async def test_messages_tools_make_a_round_trip(http):
    conversation = user("[tool]")
    answer = (await messages(http, "[tool]", tools=[ANTHROPIC_TOOL])).json()
    assert answer["stop_reason"] == "tool_use"
    assert answer["content"][0]["input"] == {"city": "sandbox", "days": 1}
    result = {"type": "tool_result", "tool_use_id": answer["content"][0]["id"], "content": "fog"}
    conversation += [
        {"role": "assistant", "content": answer["content"]},
        {"role": "user", "content": [result]},
    ]
    answer = (await messages(http, "", messages=conversation, tools=[ANTHROPIC_TOOL])).json()
    assert answer["content"][0]["text"] == "The tool answered: fog"


async def test_streamed_tool_input_is_partial_json(http):
    events = events_of(await messages(http, "[tool]", tools=[ANTHROPIC_TOOL], stream=True))
    parts = [event["delta"].get("partial_json") for event in events if "delta" in event]
    assert json.loads("".join(part for part in parts if part)) == {"city": "sandbox", "days": 1}


async def test_messages_names_why_it_stopped(http):
    stopped = (await messages(http, "one END two", stop_sequences=["END"])).json()
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", "END")
    assert stopped["content"][0]["text"] == "You said: one "
    cut = (await messages(http, "[chunks=9]", max_tokens=5)).json()
    assert (cut["stop_reason"], cut["usage"]["output_tokens"]) == ("max_tokens", 5)
    assert (await messages(http, "[refuse]")).json()["stop_reason"] == "refusal"


# Routes, keys and refusals


async def test_the_models_are_listed_in_each_vendors_way(openai_client, http):
    assert [model.id async for model in openai_client.models.list()] == ["sandbox", "sandbox-mini"]
    listed = await http.get("/models", headers={"anthropic-version": "2023-06-01"})
    assert listed.json()["first_id"] == "sandbox"
    assert (await http.get(str(http.base_url).replace("/v1/", "/healthz"))).status_code == 200


async def test_an_unknown_route_is_refused_as_openai_does(http):
    response = await http.post("/nothing", json={})
    assert response.status_code == 404
    assert response.json()["error"]["message"] == "Invalid URL (POST /v1/nothing)"


async def test_bad_requests_are_refused_as_the_vendor_does(http, openai_client):
    response = await http.post("/chat/completions", content=b"{")
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    response = await http.post("/messages", content=b"{")
    assert response.json()["error"]["type"] == "invalid_request_error"
    response = await http.post("/messages", json={"model": "sandbox", "messages": []})
    assert response.json()["error"]["message"] == "max_tokens: Field required"
    with pytest.raises(NotFoundError):
        await openai_client.responses.create(model="sandbox-fault-nonsense", input="hello")


@cases("stream", [False, True])
async def test_nonsense_in_known_fields_does_no_harm(sandbox, http, stream):
    junk = {"model": "sandbox", "stream": stream, "max_tokens": 9}
    tools = [7, {"type": "function", "name": "f", "parameters": {"minimum": "x", "type": "number"}}]
    nonsense = {"reasoning": "high", "text": [], "metadata": 3, "stop": 1, "thinking": 5}
    items = [None, {"type": 1}, {"role": "user", "content": [3, {"text": 4}]}, *user("[tool]")]
    fields = {"input": items, "messages": items, "tools": tools, "stream_options": 1, **nonsense}
    for path in ("/chat/completions", "/responses", "/messages"):
        assert (await http.post(path, json=junk | fields)).status_code in (200, 400)
    async with asyncio.timeout(GIVE_UP_SECONDS):
        await sandbox.idle()


async def test_a_wrong_key_is_refused(openai_client):
    async with SandboxServer(require_key="sk-right") as server:
        client = openai_client.with_options(base_url=server.base_url)
        with pytest.raises(AuthenticationError):
            await client.responses.create(model="sandbox", input="hello")
        right = client.with_options(api_key="sk-right")
        assert (await right.responses.create(model="sandbox", input="hi")).output_text
        async with httpx.AsyncClient(base_url=server.base_url) as http:
            refused = await messages(http, "hello")
            assert refused.json()["error"]["type"] == "authentication_error"
            http.headers["x-api-key"] = "sk-right"
            assert (await messages(http, "hello")).status_code == 200


async def test_a_chunked_request_and_a_reused_connection_are_understood(sandbox, http):
    body = json.dumps({"model": "sandbox", "input": "hello"}).encode()

    async def slices():
        yield body[:7]
        yield body[7:]

    first = await http.post("/responses", content=slices())
    second = await http.post("/responses", content=body)
    assert first.json()["output"][0]["content"] == second.json()["output"][0]["content"]
    assert sandbox.open_connections == 1


async def test_the_same_calls_give_the_same_bytes(sandbox, http):
    body = {"model": "sandbox", "input": "[reason] hello", "stream": True}
    first = await http.post("/responses", json=body)
    async with SandboxServer(clock=lambda: 1_800_000_000) as again:
        second = await http.post(f"{again.base_url}/responses", json=body)
    assert first.text == second.text


async def test_text_has_the_ordered_size_and_number_of_deltas(http):
    body = {"model": "sandbox", "input": "[size=1000][chunks=7]", "stream": True}
    events = events_of(await http.post("/responses", json=body))
    parts = [e["delta"] for e in events if e["type"] == "response.output_text.delta"]
    assert (len(parts), len("".join(parts))) == (7, 1000)


# The log


async def test_a_call_is_recorded_as_it_went_over_the_wire(sandbox, http):
    body = {"model": "sandbox", "messages": user("[chunks=5]"), "stream": True}
    await http.post("/chat/completions", json=body, headers={"authorization": "Bearer sk-1"})
    await sandbox.idle()
    call = sandbox.calls[-1]
    assert (call.protocol, call.model, call.stream, call.status) == ("chat", "sandbox", True, 200)
    assert (call.ended, call.events_sent, call.text_bytes_sent) == ("completed", 8, 30)
    assert (call.body, call.headers["authorization"]) == (body, "Bearer sk-1")
    assert call.started_at <= call.first_byte_at <= call.ended_at


async def test_the_log_file_holds_no_key_and_no_body(tmp_path, http):
    path = tmp_path / "calls.jsonl"
    async with SandboxServer(log_path=str(path)) as server:
        await http.post(
            f"{server.base_url}/responses",
            json={"model": "sandbox", "input": "a secret thought"},
            headers={"authorization": "Bearer sk-canary", "x-api-key": "sk-canary"},
        )
        await server.idle()
    line = path.read_text()
    assert "sk-canary" not in line
    assert "secret thought" not in line
    assert json.loads(line)["usage"]["output_tokens"] == 7
    assert json.loads(line)["ended"] == "completed"


@cases("order", ["[wait=60000]", "[chunks=100][pace=60000]"])
async def test_a_client_that_leaves_is_noticed_at_once(sandbox, order):
    _, writer = await asyncio.open_connection(sandbox.host, sandbox.port)
    body = json.dumps({"model": "sandbox", "input": order, "stream": True}).encode()
    head = b"POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    writer.write(head + body)
    await sandbox.received(1)
    writer.close()
    async with asyncio.timeout(NOISE_SECONDS):
        await sandbox.idle()
    assert sandbox.calls[-1].ended == "client_closed"
    assert sandbox.calls[-1].client_closed_at is not None


@cases("order", ["[wait=60000]", "[chunks=9][pace=60000]", "[wait=60000][chunks=9][pace=60000]"])
async def test_answers_that_wait_go_on_when_they_are_hurried(sandbox, http, order):
    async def ask(text: str) -> httpx.Response:
        body = {"model": "sandbox", "input": text, "stream": True}
        return await http.post(f"{sandbox.base_url}/responses", json=body)

    wanted = sandbox.received_calls + 2
    first, second = (asyncio.ensure_future(ask(f"{order} {name}")) for name in ("one", "two"))
    await sandbox.received(wanted)
    sandbox.hurry("one")
    assert b"response.completed" in (await first).content
    assert not second.done()
    sandbox.hurry()
    assert b"response.completed" in (await second).content


async def test_a_client_that_reads_nothing_holds_an_endless_stream_back(sandbox):
    _, writer = await asyncio.open_connection(sandbox.host, sandbox.port, limit=1024)
    model = "sandbox-fault-never-ending"
    body = json.dumps({"model": model, "input": "go", "stream": True}).encode()
    head = b"POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    writer.write(head + body)
    await sandbox.received(1)
    events = -1
    while events != sandbox.calls[-1].events_sent:
        events = sandbox.calls[-1].events_sent
        # Many turns of the loop, in each of which an unhindered stream would grow.
        for _ in range(200):
            await asyncio.sleep(0)
    assert events > 0
    writer.close()
    async with asyncio.timeout(GIVE_UP_SECONDS):
        await sandbox.idle()
    assert sandbox.calls[-1].ended == "client_closed"


async def test_stopping_ends_running_calls(http):
    server = SandboxServer()
    await server.start()
    url = f"{server.base_url}/responses"
    asking = asyncio.create_task(http.post(url, json={"model": "sandbox", "input": "[wait=60000]"}))
    await server.received(1)
    await server.stop()
    with pytest.raises(httpx.RemoteProtocolError):
        await asking
    assert server.calls[-1].ended == "server_stopped"


# Scripts


async def test_a_script_is_replayed_with_its_chunk_boundaries(sandbox, http):
    chunks = [b"data: {", b"}\n", b"\ndata: [DONE]\n\n"]
    sandbox.script("gpt-x", Scripted(headers={"x-one": "1"}, chunks=chunks))
    async with http.stream("POST", "/responses", json={"model": "gpt-x"}) as response:
        assert response.headers["x-one"] == "1"
        assert [chunk async for chunk in response.aiter_raw()] == chunks


async def test_scripted_answers_follow_one_another(sandbox, http):
    busy = Scripted(status=503, chunks=[b"{}"], content_type="application/json")
    sandbox.script("gpt-x", busy, Scripted(chunks=[b"data: 1\n\n"], end="cut"))
    assert (await http.post("/messages", json={"model": "gpt-x"})).status_code == 503
    with pytest.raises(httpx.RemoteProtocolError):
        await http.post("/messages", json={"model": "gpt-x"})


# The command


def test_the_command_lists_the_faults():
    command = [sys.executable, "-m", "gateway_project.sandbox", "--list-faults"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "sandbox-fault-cut-utf8 " in printed
    assert "(connect-refused: by URL)" in printed


async def test_the_command_serves_until_it_is_told_to_stop(http):
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "gateway_project.sandbox", "--port", "0"],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().strip()
    assert (await http.get(f"{url}/models")).status_code == 200
    process.terminate()
    _, complaints = await process.communicate()
    assert (process.returncode, complaints) == (0, b"")
