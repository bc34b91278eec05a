"""Count a request's tokens at OpenAI: https://platform.openai.com/docs/api-reference/responses/input-tokens"""

from __future__ import annotations

from gateway_project.lib.json import Json
from routing.protocols.responses import request as responses
from routing.protocols.shared.counting import pick
from routing.route import ResolvedTarget

PATH = "/responses/input_tokens"
_TAKEN = ("model", "input", "instructions", "parallel_tool_calls", "reasoning", "text", "tool_choice",
          "tools", "truncation")  # fmt: skip


def body(canonical: Json, target: ResolvedTarget) -> Json:
    """Make the body to send."""
    return pick(_TAKEN, responses.request(canonical, target))
