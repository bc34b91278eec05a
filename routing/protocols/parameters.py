"""What becomes of each parameter of a request, by the upstream's protocol: the one table.

    honoured   the gateway does it itself, or says it in another way
    forwarded  sent on with the same meaning, under the upstream's name for it
    hint       accepted, and left out: the upstream has no such thing, and the answer does not need it
    refused    a 400 that names it, unless the alias says `drop_unsupported`

A parameter that is not in the table is refused, because nobody can say what its sender relies on.
`python -m routing.protocols.parameters` prints docs/parameters.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway_project.lib.errors import UnsupportedParameter
from routing.route import Protocol

Json = dict[str, Any]
Fate = Literal["honoured", "forwarded", "hint", "refused"]
Door = Literal["chat", "responses"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A row. `name` is the canonical one, `doors` the client's name at each door that has it,
    `upstream` the upstream's where it is another, `neutral` the values that ask for nothing."""

    name: str
    doors: Mapping[Door, str]
    fates: Mapping[Protocol, Fate]
    upstream: Mapping[Protocol, str] = field(default_factory=dict)
    neutral: tuple[Any, ...] = ()


def _row(
    name: str,
    chat: str,
    responses: str,
    anthropic: str,
    *,
    at: str = "chat responses",
    chat_name: str = "",
    neutral: tuple[Any, ...] = (),
) -> Parameter:
    """One line of the table; a fate may be followed by the upstream's own name."""
    cells = {"chat": chat, "responses": responses, "anthropic": anthropic}
    words: dict[Any, tuple[str, str]] = {}
    for protocol, cell in cells.items():
        fate, _, upstream_name = cell.partition(" ")
        words[protocol] = (fate, upstream_name)
    doors: dict[Any, str] = dict.fromkeys(at.split(), name)
    if "chat" in doors and chat_name:
        doors["chat"] = chat_name
    fates: dict[Any, Any] = {protocol: fate for protocol, (fate, _) in words.items()}
    upstream = {protocol: own for protocol, (_, own) in words.items() if own}
    return Parameter(name, doors, fates, upstream, neutral)


TABLE: tuple[Parameter, ...] = (
    # What is asked
    _row("model", "honoured", "honoured", "honoured"),
    _row("input", "honoured messages", "honoured", "honoured messages", chat_name="messages"),
    _row("instructions", "honoured messages", "forwarded", "honoured system", at="responses"),
    _row("stream", "forwarded", "forwarded", "forwarded"),
    _row("stream_options", "honoured", "honoured", "honoured"),
    # How the answer is made
    _row(
        "max_output_tokens",
        "forwarded max_completion_tokens",
        "forwarded",
        "forwarded max_tokens",
        chat_name="max_completion_tokens",
    ),
    _row("temperature", "forwarded", "forwarded", "forwarded"),
    _row("top_p", "forwarded", "forwarded", "forwarded"),
    _row("top_k", "forwarded", "refused", "forwarded"),
    _row("frequency_penalty", "forwarded", "forwarded", "refused", neutral=(0,)),
    _row("presence_penalty", "forwarded", "forwarded", "refused", neutral=(0,)),
    _row("logit_bias", "forwarded", "refused", "refused", at="chat", neutral=({},)),
    _row("seed", "forwarded", "refused", "refused", at="chat"),
    _row("stop", "forwarded", "refused", "forwarded stop_sequences", at="chat", neutral=([],)),
    _row("n", "refused", "refused", "refused", at="chat", neutral=(1,)),
    _row("logprobs", "forwarded", "forwarded include", "refused", at="chat", neutral=(False,)),
    _row("top_logprobs", "forwarded", "forwarded", "refused", neutral=(0,)),
    _row("prediction", "forwarded", "hint", "hint", at="chat"),
    _row("modalities", "refused", "refused", "refused", at="chat", neutral=(["text"], [])),
    _row("audio", "refused", "refused", "refused", at="chat"),
    _row(
        "text.format",
        "forwarded response_format",
        "forwarded",
        "forwarded output_config.format",
        chat_name="response_format",
    ),
    _row("text.verbosity", "hint", "forwarded", "hint", chat_name="verbosity"),
    _row(
        "reasoning.effort",
        "forwarded reasoning_effort",
        "forwarded",
        "forwarded thinking",
        chat_name="reasoning_effort",
    ),
    _row("reasoning.summary", "hint", "forwarded", "hint", at="responses"),
    # Tools
    _row("tools", "forwarded", "forwarded", "forwarded"),
    _row("tool_choice", "forwarded", "forwarded", "forwarded"),
    _row(
        "parallel_tool_calls",
        "forwarded",
        "forwarded",
        "forwarded tool_choice.disable_parallel_tool_use",
    ),
    _row("max_tool_calls", "hint", "forwarded", "hint", at="responses"),
    _row("web_search_options", "forwarded", "refused", "refused", at="chat"),
    # State, which is the gateway's
    _row("store", "honoured", "honoured", "honoured"),
    _row("background", "honoured", "honoured", "honoured", at="responses"),
    _row("previous_response_id", "honoured", "honoured", "honoured", at="responses"),
    _row("conversation", "honoured", "honoured", "honoured", at="responses"),
    _row("prompt", "honoured", "honoured", "honoured", at="responses"),
    # What does not change the answer
    _row("include", "honoured", "forwarded", "hint", at="responses"),
    _row("metadata", "hint", "forwarded", "hint"),
    _row("client_metadata", "hint", "forwarded", "hint", at="responses"),
    _row("user", "hint", "forwarded", "forwarded metadata.user_id"),
    _row("safety_identifier", "hint", "forwarded", "forwarded metadata.user_id"),
    _row("service_tier", "hint", "forwarded", "forwarded"),
    _row("prompt_cache_key", "hint", "forwarded", "hint"),
    _row("prompt_cache_options", "hint", "forwarded", "hint"),
    _row("prompt_cache_retention", "hint", "forwarded", "hint"),
    _row("truncation", "honoured", "forwarded", "honoured", at="responses"),
    _row("context_management", "honoured", "forwarded", "honoured", at="responses"),
    # What only its maker can do
    _row("access_programs", "refused", "forwarded", "refused", at="responses"),
    _row("image", "refused", "forwarded", "refused", at="responses"),
    _row("moderation", "refused", "forwarded", "refused"),
)
_BY_NAME = {parameter.name: parameter for parameter in TABLE}
# Objects whose members are rows; the builders read from them what they know.
_CONTAINERS = frozenset(
    parameter.name.partition(".")[0] for parameter in TABLE if "." in parameter.name
)


def prepare(body: Json, protocol: Protocol, drop_unsupported: bool) -> tuple[Json, tuple[str, ...]]:
    """The canonical body without what this upstream is not sent, and the names of what was dropped
    although its sender asked for it. Raises UnsupportedParameter.

    Null and neutral values ask for nothing and are left out for every upstream.
    """
    kept: Json = {}
    dropped: list[str] = []
    for name, value in body.items():
        if name in _CONTAINERS:
            kept[name] = value
            continue
        parameter = _BY_NAME.get(name)
        if value is None or (parameter is not None and _is_neutral(parameter, value)):
            continue
        match parameter.fates[protocol] if parameter is not None else "refused":
            case "honoured" | "forwarded":
                kept[name] = value
            case "refused" if drop_unsupported:
                dropped.append(name)
            case "refused":
                raise _refused(name, value)
    return kept, tuple(dropped)


def _is_neutral(parameter: Parameter, value: Any) -> bool:
    """`True == 1` in Python, so the types count too."""
    return any(
        type(value) in {type(known), float} and value == known for known in parameter.neutral
    )


def _refused(name: str, value: Any) -> UnsupportedParameter:
    if name == "n":
        return UnsupportedParameter(
            f"'n' is {value!r}, but the provider of this model gives one answer to a request.",
            param=name,
        )
    return UnsupportedParameter(
        f"'{name}' is not supported by the provider of this model; leave it out.", param=name
    )


# docs/parameters.md

_INTRODUCTION = """\
# Parameters

Generated from the table in `routing/protocols/parameters.py` by
`python -m routing.protocols.parameters > docs/parameters.md`; a test compares the two.

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
* Hosted tools are left out towards chat and Anthropic and listed in `x-tollgate-dropped`; a `tool_choice`
  that demands one is refused.
"""
_HEADINGS: Mapping[Door, str] = {"chat": "/v1/chat/completions", "responses": "/v1/responses"}
_COLUMNS: tuple[Protocol, ...] = ("chat", "responses", "anthropic")


def document() -> str:
    """The text of docs/parameters.md."""
    sections = [_INTRODUCTION]
    for door, path in _HEADINGS.items():
        head = f"## Through `POST {path}`\n\n| parameter | {' | '.join(_COLUMNS)} |"
        rule = "|" + "---|" * (len(_COLUMNS) + 1)
        sections.append("\n".join([head, rule, *_lines(door)]) + "\n")
    return "\n".join([*sections, _NOTES])


def _lines(door: Door) -> Iterator[str]:
    for parameter in TABLE:
        if door in parameter.doors:
            cells = (_cell(parameter, door, protocol) for protocol in _COLUMNS)
            yield f"| `{parameter.doors[door]}` | {' | '.join(cells)} |"


def _cell(parameter: Parameter, door: Door, protocol: Protocol) -> str:
    if door == protocol:  # relayed
        return "honoured" if parameter.fates[protocol] == "honoured" else "forwarded"
    fate = parameter.fates[protocol]
    name = parameter.upstream.get(protocol, parameter.name if fate == "forwarded" else "")
    if not name or name == parameter.doors[door]:
        return fate
    return f"{fate}: `{name}`"


if __name__ == "__main__":
    sys.stdout.write(document())
