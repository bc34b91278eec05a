"""Speak OpenAI's Chat Completions: https://platform.openai.com/docs/api-reference/chat"""

from __future__ import annotations

from gateway_project.lib.json import Json
from routing.protocols.chat import relayed, request, usage
from routing.protocols.chat.deltas import ChatDeltas
from routing.protocols.chat.parameters import PARAMETERS
from routing.protocols.shared.protocol import UpstreamProtocol
from routing.route import ResolvedTarget


def _probe(target: ResolvedTarget, prompt: str, limit: int) -> Json:
    messages = [{"role": "user", "content": prompt}]
    name = target.quirks.max_tokens_field or "max_completion_tokens"
    return {"model": target.model, "messages": messages, name: limit}


PROTOCOL = UpstreamProtocol(
    name="chat",
    label="Chat Completions",
    path=relayed.PATH,
    build=request.build,
    prepare=relayed.request,
    parameters=PARAMETERS,
    choices=request.choices,
    adapter=ChatDeltas,
    meter=usage.meter,
    read_usage=usage.read,
    probe=_probe,
    answer_list="choices",
)
