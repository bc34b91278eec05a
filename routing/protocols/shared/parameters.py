"""List the canonical parameters of a request, and leave out of it what an upstream is not sent.

What becomes of a parameter is said by each protocol (`routing/protocols/<protocol>/parameters.py`), in words:

    honoured   the gateway does it itself, or says it in another way
    forwarded  sent on with the same meaning, under the upstream's name for it
    hint       accepted, and left out: the upstream has no such thing, and the answer does not need it
    refused    a 400 that names it, unless the alias says `drop_unsupported`

A parameter that a protocol does not name is refused, because nobody can say what its sender relies on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from gateway_project.lib.errors import UnsupportedParameter
from gateway_project.lib.json import Json

Word = Literal["honoured", "forwarded", "hint", "refused"]


class Fate(NamedTuple):
    """The treatment of a parameter, and the upstream's name for it if it differs."""

    word: Word
    name: str = ""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A canonical parameter. `neutral` are the values that ask for nothing."""

    name: str
    neutral: tuple[Any, ...] = ()


TABLE: tuple[Parameter, ...] = (
    # What is asked
    Parameter("model"),
    Parameter("input"),
    Parameter("instructions"),
    Parameter("stream"),
    Parameter("stream_options"),
    # How the answer is made
    Parameter("max_output_tokens"),
    Parameter("temperature"),
    Parameter("top_p"),
    Parameter("top_k"),
    Parameter("frequency_penalty", neutral=(0,)),
    Parameter("presence_penalty", neutral=(0,)),
    Parameter("logit_bias", neutral=({},)),
    Parameter("seed"),
    Parameter("stop", neutral=([],)),
    Parameter("n", neutral=(1,)),
    Parameter("logprobs", neutral=(False,)),
    Parameter("top_logprobs", neutral=(0,)),
    Parameter("prediction"),
    Parameter("modalities", neutral=(["text"], [])),
    Parameter("audio"),
    Parameter("text.format"),
    Parameter("text.verbosity"),
    Parameter("reasoning.effort"),
    Parameter("reasoning.summary"),
    # Tools
    Parameter("tools"),
    Parameter("tool_choice"),
    Parameter("parallel_tool_calls"),
    Parameter("max_tool_calls"),
    Parameter("web_search_options"),
    # State, which is the gateway's
    Parameter("store"),
    Parameter("background"),
    Parameter("previous_response_id"),
    Parameter("conversation"),
    Parameter("prompt"),
    # What does not change the answer
    Parameter("usage"),
    Parameter("include"),
    Parameter("metadata"),
    Parameter("client_metadata"),
    Parameter("user"),
    Parameter("safety_identifier"),
    Parameter("service_tier"),
    Parameter("prompt_cache_key"),
    Parameter("prompt_cache_options"),
    Parameter("prompt_cache_retention"),
    Parameter("truncation"),
    Parameter("context_management"),
    # What only its maker can do
    Parameter("access_programs"),
    Parameter("image"),
    Parameter("moderation"),
)
_BY_NAME = {parameter.name: parameter for parameter in TABLE}
# Objects whose members are rows; the builders read from them what they know.
_CONTAINERS = frozenset(
    parameter.name.partition(".")[0] for parameter in TABLE if "." in parameter.name
)


def fates(said: Mapping[str, str]) -> Mapping[str, Fate]:
    """Read a protocol's statement: by parameter a word, and the upstream's name after it. Raises ValueError
    for a word or a parameter that is unknown."""
    found: dict[str, Fate] = {}
    for name, words in said.items():
        word, _, upstream_name = words.partition(" ")
        if name not in _BY_NAME or word not in get_args(Word):
            raise ValueError(f"{name!r}: {words!r} is no fate of a parameter in the table.")
        found[name] = Fate(word, upstream_name)  # type: ignore[arg-type]  # it was looked at
    return found


def prepare(
    body: Json, known: Mapping[str, Fate], drop_unsupported: bool
) -> tuple[Json, tuple[str, ...]]:
    """Leave out of a canonical body what this upstream is not sent, and name what was dropped although its
    sender asked for it. `known` are the fates at the upstream's protocol. Raises UnsupportedParameter.

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
        fate = known.get(name)
        match fate.word if fate is not None else "refused":
            case "honoured" | "forwarded":
                kept[name] = value
            case "refused" if drop_unsupported:
                dropped.append(name)
            case "refused":
                raise _refusal(name, value)
    return kept, tuple(dropped)


def _is_neutral(parameter: Parameter, value: Any) -> bool:
    """`True == 1` in Python, so the types count too."""
    return any(
        type(value) in {type(known), float} and value == known for known in parameter.neutral
    )


def _refusal(name: str, value: Any) -> UnsupportedParameter:
    if name == "n":
        return UnsupportedParameter(
            f"'n' is {value!r}, but the provider of this model gives one answer to a request.",
            param=name,
        )
    return UnsupportedParameter(
        f"'{name}' is not supported by the provider of this model; leave it out.", param=name
    )
