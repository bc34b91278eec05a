"""Speak OpenAI's Responses API: https://platform.openai.com/docs/api-reference/responses"""

from __future__ import annotations

from gateway_project.lib.json import Json
from routing.protocols.responses import counting, request, usage
from routing.protocols.responses.deltas import ResponsesDeltas
from routing.protocols.responses.parameters import PARAMETERS
from routing.protocols.shared.counting import read_input_tokens
from routing.protocols.shared.protocol import Counter, UpstreamProtocol
from routing.route import ResolvedTarget


def _probe(target: ResolvedTarget, prompt: str, limit: int) -> Json:
    return {"model": target.model, "input": prompt, "max_output_tokens": limit, "store": False}


PROTOCOL = UpstreamProtocol(
    name="responses",
    label="Responses",
    path=request.PATH,
    build=request.build,
    prepare=request.request,
    parameters=PARAMETERS,
    knows_custom_tools=True,
    manages_context=True,
    window_percent=95,
    adapter=ResponsesDeltas,
    meter=usage.meter,
    read_usage=usage.read,
    probe=_probe,
    answer_list="output",
    counter=Counter(counting.PATH, counting.body, read_input_tokens),
)
