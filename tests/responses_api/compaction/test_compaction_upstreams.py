"""Compaction from end to end over each upstream protocol: the model is asked, its summary sealed, and the
compacted conversation goes on."""

from __future__ import annotations

import base64
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
import pytest

from gateway_project.lib.keyring import Keyring
from gateway_project.sandbox import SandboxServer
from responses_api.compaction import adapter, answer, request, sealed
from responses_api.doors.registry import BRIDGES
from responses_api.stream.response import usage_report
from routing import truncation
from routing.protocols import PROTOCOLS
from routing.protocols.anthropic.deltas import AnthropicDeltas
from routing.protocols.chat.deltas import ChatDeltas
from routing.protocols.responses.deltas import ResponsesDeltas
from routing.protocols.shared import parameters
from routing.upstream.transport import Transport
from tests.plugins.cases import cases
from tests.support import requests

ADAPTERS = {"anthropic": AnthropicDeltas, "chat": ChatDeltas, "responses": ResponsesDeltas}
RING = Keyring(lambda: f"k1:{base64.b64encode(bytes(32)).decode()}", "RING")
CONVERSATION: dict[str, Any] = {
    "model": "alias",
    "instructions": "Be kind.",
    "input": [
        {"role": "user", "content": "What is the weather in Rome?"},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
    ],
}


@pytest.fixture
async def sandbox():
    async with SandboxServer() as server:
        yield server


@pytest.fixture
async def transport():
    made = Transport(connect_seconds=5, pool_wait_seconds=5, max_connections=5)
    yield made
    await made.close()


async def ask(transport, target, canonical, wrap):
    """Do what an exchange does with a canonical request; return the deltas of the whole answer."""
    kept, _ = parameters.prepare(canonical, PROTOCOLS[target.protocol].parameters, False)
    kept = truncation.fit_to_window(kept, target)
    body = requests.BUILDERS[target.protocol](
        kept, PROTOCOLS[target.protocol].toolbox(kept, target), target
    )
    reply = await transport.post(
        target,
        BRIDGES["responses", target.protocol].path,
        orjson.dumps(body),
        PROTOCOLS[target.protocol].headers,
    )
    reader = wrap(ADAPTERS[target.protocol](target))
    return reader, reader.body(await reply.body())


@cases("protocol", ADAPTERS)
async def test_a_conversation_is_compacted_and_goes_on(sandbox, transport, protocol):
    target = replace(
        requests.target(protocol, lacks=["reasoning"]),
        base_url=sandbox.base_url,
        auth_kind="none",
        allow_private_network=True,
    )
    seal = partial(sealed.seal, tenant_id=7, keyring=RING)
    items = sealed.unsealed(CONVERSATION["input"], 7, RING)
    asked = request.summary_request({**CONVERSATION, "input": items})
    reader, [made, _] = await ask(
        transport, target, asked, partial(adapter.compact_answer, seal=seal)
    )
    compacted = answer.compaction_object(
        "resp_1", 1, CONVERSATION["input"], made.item, usage_report(reader.meter.usage)
    )
    assert [item["type"] for item in compacted["output"]] == ["message", "compaction"]
    assert compacted["usage"]["input_tokens"] > 300

    window = [*compacted["output"], {"role": "user", "content": "And tomorrow?"}]
    resumed = {**CONVERSATION, "input": sealed.unsealed(window, 7, RING)}
    _, deltas = await ask(transport, target, resumed, lambda inner: inner)
    assert "And tomorrow?" in deltas[0].text
    sent = orjson.dumps(sandbox.calls[-1].body).decode()
    assert "You said: Write the summary of the conversation above now." in sent
    assert "What is the weather in Rome?" in sent
    assert "tollgate.compaction" not in sent
