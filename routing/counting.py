"""The counters that upstreams have: what to ask, and the number in the answer.

OpenAI counts at `POST /responses/input_tokens`, Anthropic at `POST /messages/count_tokens`; nobody counts for
Chat Completions. Servers that only speak these protocols often lack the route, which `is_absent` tells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway_project.lib.errors import UpstreamMalformed
from routing.protocols import anthropic_request, parameters, responses
from routing.protocols.fields import parse
from routing.protocols.tools import Toolbox
from routing.route import Protocol, Target

Json = dict[str, Any]

_ABSENT = frozenset({404, 405, 501})
# https://platform.openai.com/docs/api-reference/responses/input-tokens
_OPENAI = ("model", "input", "instructions", "parallel_tool_calls", "reasoning", "text", "tool_choice",
           "tools", "truncation")  # fmt: skip
# https://platform.claude.com/docs/en/api/messages/count_tokens
_ANTHROPIC = ("model", "messages", "system", "output_config", "thinking", "tool_choice", "tools")


@dataclass(frozen=True, slots=True)
class Counter:
    """Where and how an upstream is asked. `body` takes the canonical request."""

    path: str
    body: Callable[[Json, Target], Json]


def _for_openai(canonical: Json, target: Target) -> Json:
    return _only(_OPENAI, responses.request(canonical, target))


def _for_anthropic(canonical: Json, target: Target) -> Json:
    """Without refusing anything: what does not go upstream needs no tokens there."""
    kept, _ = parameters.prepare(canonical, target.protocol, drop_unsupported=True)
    built = anthropic_request.build(kept, Toolbox.of(kept, target), target)
    return _only(_ANTHROPIC, built)


COUNTERS: Mapping[Protocol, Counter] = {
    "responses": Counter("/responses/input_tokens", _for_openai),
    "anthropic": Counter("/messages/count_tokens", _for_anthropic),
}


def counted(raw: bytes, target: Target) -> int:
    """The number in a counter's answer. Raises UpstreamMalformed if there is none."""
    tokens = (parse(raw) or {}).get("input_tokens")
    if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens >= 0:
        return tokens
    raise UpstreamMalformed(f"The provider {target.provider!r} did not count the tokens.")


def is_absent(status: int) -> bool:
    """Whether an HTTP status says that the server has no such route. An unknown model looks the same."""
    return status in _ABSENT


def _only(names: tuple[str, ...], body: Json) -> Json:
    return {name: body[name] for name in names if name in body}
