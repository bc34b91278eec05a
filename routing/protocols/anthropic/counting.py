"""Count a request's tokens at Anthropic: https://platform.claude.com/docs/en/api/messages/count_tokens"""

from __future__ import annotations

from gateway_project.lib.json import Json
from routing.protocols.anthropic import request as anthropic
from routing.protocols.anthropic.parameters import PARAMETERS
from routing.protocols.shared import parameters
from routing.protocols.shared.counting import pick
from routing.protocols.shared.tools import Toolbox
from routing.route import ResolvedTarget

PATH = "/messages/count_tokens"
_TAKEN = ("model", "messages", "system", "output_config", "thinking", "tool_choice", "tools")


def body(canonical: Json, target: ResolvedTarget) -> Json:
    """Make the body to send, without refusing anything: what does not go upstream needs no tokens there."""
    kept, _ = parameters.prepare(canonical, PARAMETERS, drop_unsupported=True)
    return pick(_TAKEN, anthropic.build(kept, Toolbox.of(kept, target), target))
