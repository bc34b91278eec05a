"""Write docs/parameters.md: `python -m responses_api.doors.reference > docs/parameters.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from responses_api.doors.door import Door
from responses_api.doors.registry import DOORS
from routing.protocols import PROTOCOLS
from routing.protocols.shared.parameters import TABLE
from routing.protocols.shared.protocol import UpstreamProtocol

_INTRODUCTION = """\
# Parameters

Generated from the `parameters.py` of each door and of each protocol by
`python -m responses_api.doors.reference > docs/parameters.md`; a test compares the two.

What a parameter means depends on the upstream behind the model's name:

* **honoured**: the gateway does it itself, or says it in another way
* **forwarded**: sent on with the same meaning; the name after it is the upstream's
* **hint**: accepted and left out, because the upstream has no such thing and the answer does not need it
* **refused**: `400 unsupported_parameter` naming it; an alias with `drop_unsupported` leaves it out instead

A parameter that stands in neither table is refused where the protocols differ, and forwarded where they
are the same. `null` and values that ask for nothing (`n: 1`, a penalty of 0, `logprobs: false`) are never
refused.
"""
_NOTES = """\
## Notes

* Where door and upstream speak the same protocol, everything is forwarded but what the gateway owns.
* `reasoning.effort` reaches models with the capability `reasoning` only. Anthropic thinks with a budget up to
  Claude 4.5 (less than `max_tokens`; none if that is 1024 or less) and by effort from 4.6 on; the quirk
  `thinking` overrides what the name tells. It does not think where a call is forced, nor with a budget after
  tool results whose call came from another provider.
* `text.format` towards Anthropic is its native format if the model has the capability `structured_output`
  and the schema's objects are closed; otherwise a tool that must be called takes the answer.
* `max_output_tokens` towards Anthropic is always sent: the client's, else the model's, else 8192.
* `max_output_tokens` below 16 is refused through `/v1/responses`, as OpenAI does, whatever the upstream; a
  lower limit of a chat client is raised to 16 towards Responses. `temperature` through `/v1/responses` is
  from 0 to 2.
* The output limit's name towards chat follows the quirk `max_tokens_field`.
* `max_tokens`, `functions` and `function_call` of chat are read as the parameters that replaced them.
* `strict` of a function reaches chat if the client says so, or by default where the schema allows it;
  Anthropic is never sent it.
* `allowed_tools` is enforced by the gateway: chat and Anthropic upstreams are offered those tools only.
* `truncation` towards chat and Anthropic needs a model whose context window is known, and counts with
  OpenAI's tokenizer o200k_base. `auto` leaves out the oldest turns, whole, and never the newest; `disabled`
  answers `400 context_length_exceeded` where the text alone is longer than the window.
* `context_management` towards chat and Anthropic has the same model summarise the conversation once it
  reaches `compact_threshold` by that count (without a number: nine tenths of the window); the answer then
  begins with a `compaction` item that only this gateway and tenant can open.
* `usage: {"include": true}` asks for `usage.cost` in the answer: the charge in dollars.
* Hosted tools are left out towards chat and Anthropic and listed in `x-tollgate-dropped`; a `tool_choice`
  that demands one is refused.
"""


def document() -> str:
    """Write the page: a table for each door that says what its clients call the parameters."""
    sections = [_INTRODUCTION]
    for door in DOORS.values():
        if door.parameters:
            head = f"## Through `POST /v1/{door.path}`\n\n| parameter | {' | '.join(PROTOCOLS)} |"
            rule = "|" + "---|" * (len(PROTOCOLS) + 1)
            sections.append("\n".join([head, rule, *_lines(door)]) + "\n")
    return "\n".join([*sections, _NOTES])


def _lines(door: Door) -> Iterator[str]:
    for parameter in TABLE:
        if (clients := door.parameters.get(parameter.name)) is not None:
            cells = (_cell(parameter.name, door, protocol) for protocol in PROTOCOLS.values())
            yield f"| `{clients}` | {' | '.join(cells)} |"


def _cell(name: str, door: Door, protocol: UpstreamProtocol) -> str:
    fate = protocol.parameters[name]
    if door.speaks == protocol.name:  # relayed
        return "honoured" if fate.word == "honoured" else "forwarded"
    upstream_name = fate.name or (name if fate.word == "forwarded" else "")
    if not upstream_name or upstream_name == door.parameters[name]:
        return fate.word
    return f"{fate.word}: `{upstream_name}`"


if __name__ == "__main__":
    sys.stdout.write(document())
