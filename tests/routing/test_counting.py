"""Asking an upstream to count: what it is sent, over the hot path's own client, and what it answers."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from gateway_project.lib.errors import UpstreamMalformed
from routing.protocols import PROTOCOLS
from routing.protocols.shared import counting
from routing.upstream.transport import Transport
from tests.plugins.cases import cases
from tests.support import requests

TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
REQUEST = {
    "model": "alias", "stream": True, "store": True, "input": [{"role": "user", "content": "Hello you"}],
    "instructions": "Be kind.", "tools": [TOOL], "tool_choice": "auto", "max_output_tokens": 9000,
    "reasoning": {"effort": "low"}, "temperature": 1, "metadata": {"a": "b"}, "include": [],
    "truncation": "auto", "top_logprobs": 2, "previous_response_id": "resp_1",
}  # fmt: skip
WITH_COUNTER = cases("protocol", ["responses", "anthropic"])


@pytest.fixture
async def transport():
    made = Transport(connect_seconds=5, pool_wait_seconds=5, max_connections=5)
    yield made
    await made.close()


@pytest.fixture
def target(sandbox):
    def made(protocol, model="claude-haiku-4-5"):
        to = requests.target(protocol, model=model)
        return replace(to, base_url=sandbox.base_url, auth_kind="none", allow_private_network=True)

    return made


async def ask(transport, to):
    counter = PROTOCOLS[to.protocol].counter
    assert counter is not None
    body = orjson.dumps(counter.body(REQUEST, to))
    answer = await transport.post(to, counter.path, body, PROTOCOLS[to.protocol].headers)
    return answer.status, await answer.body()


@WITH_COUNTER
async def test_an_upstream_counts_the_request_as_it_would_be_sent(
    sandbox, transport, target, protocol
):
    status, raw = await ask(transport, target(protocol))
    assert status == 200
    assert counting.read_input_tokens(raw, target(protocol)) == 5
    call = sandbox.calls[-1]
    assert (call.path, call.model) == (
        {"responses": "/v1/responses/input_tokens", "anthropic": "/v1/messages/count_tokens"}[
            protocol
        ],
        "claude-haiku-4-5",
    )
    assert not set(call.body) & {
        "stream", "store", "max_tokens", "max_output_tokens", "temperature", "metadata", "include",
        "previous_response_id", "top_logprobs",
    }  # fmt: skip
    assert {"tools", "tool_choice"} & set(call.body)


async def test_openai_is_sent_what_its_counter_knows(sandbox, transport, target):
    await ask(transport, target("responses"))
    assert sandbox.calls[-1].body == {
        "model": "claude-haiku-4-5",
        **{
            name: REQUEST[name]
            for name in ("input", "instructions", "tools", "tool_choice", "reasoning", "truncation")
        },
    }


async def test_anthropic_is_sent_the_request_in_its_own_form(sandbox, transport, target):
    await ask(transport, target("anthropic"))
    body = sandbox.calls[-1].body
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Hello you"}]}
    ]
    assert body["system"] == [{"type": "text", "text": "Be kind."}]
    assert body["thinking"]["type"] == "enabled"
    assert [tool["name"] for tool in body["tools"]] == ["weather"]


@WITH_COUNTER
async def test_a_server_without_a_counter_is_known_by_its_status(transport, target, protocol):
    status, _ = await ask(transport, target(protocol, "sandbox-bare"))
    assert counting.is_absent(status)


@WITH_COUNTER
@cases("status", [200, 400, 401, 403, 413, 429, 500, 503, 529])
def test_no_other_status_means_that_there_is_no_counter(protocol, status):
    assert not counting.is_absent(status)


def test_chat_has_no_counter():
    assert PROTOCOLS["chat"].counter is None


@cases(
    "raw",
    [b"", b"[]", b"{}", b'{"input_tokens":"5"}', b'{"input_tokens":-1}', b'{"input_tokens":true}'],
)
def test_an_answer_without_a_number_is_malformed(raw):
    with pytest.raises(UpstreamMalformed, match="did not count"):
        counting.read_input_tokens(raw, requests.target("responses"))


@WITH_COUNTER
@cases("fault", ["no-usage", "negative-tokens"])
async def test_a_counter_that_miscounts_is_noticed(transport, target, protocol, fault):
    to = target(protocol, f"sandbox-fault-{fault}")
    status, raw = await ask(transport, to)
    assert status == 200
    with pytest.raises(UpstreamMalformed):
        counting.read_input_tokens(raw, to)
