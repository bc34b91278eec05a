"""A relay and a translation mean the same where both sides speak the same protocol: the recordings of
native providers go through both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from gateway_project.lib.sse import Frame, Parser
from responses_api.stream.upstream_reader import UpstreamReader
from tests.plugins.cases import cases, sample
from tests.support import chat_grammar, grammar, meaning
from tests.support.meaning import Meaning
from tests.support.recorded import Recorded, answers, relay, relayed, streams

Json = dict[str, Any]

PIECE = 3
# What a translated item may leave out or coin anew; it is the vendor's own to say.
OWN = ("id", "status", "encrypted_content", "logprobs", "namespace", "phase", "created_by")


def native(parameters: list[Any]) -> list[Any]:
    """Return the recordings whose protocol is also a door's."""
    return [each for each in parameters if each.values[0].protocol != "anthropic"]


each_stream = cases("recorded", lambda: native(streams()))
each_answer = cases("recorded", lambda: native(answers()))


def both(recorded: Recorded) -> tuple[UpstreamReader, UpstreamReader]:
    """The relay, and the translation that a provider's row can ask for."""
    door = recorded.protocol
    return relay(door, recorded), relay(door, recorded, translate=True)


def means(protocol: str, answer: Json) -> Meaning:
    """Arguments as the model wrote them, but for those it left out."""
    meant = meaning.MEANING[protocol](answer)
    calls = tuple(call._replace(arguments=call.arguments or "{}") for call in meant.calls)
    return replace(meant, calls=calls)


@sample(default=16, ci=50)
@cases("step", [None, PIECE], ids=["whole", "torn"])
@each_stream
def test_a_stream_means_the_same_relayed_and_translated(recorded: Recorded, step: int | None):
    protocol = recorded.protocol
    one, other = (relayed(through, recorded.raw, step) for through in both(recorded))
    if protocol == "responses":
        grammar.check_stream(other)
    else:
        chat_grammar.check_ours(chat_grammar.read(other), with_usage=True)
    wholes = [meaning.WHOLE[protocol](out) for out in (one, other)]
    assert means(protocol, wholes[0]) == means(protocol, wholes[1])


@each_answer
def test_a_whole_answer_means_the_same_relayed_and_translated(recorded: Recorded):
    one, other = (orjson.loads(through.body(recorded.raw)) for through in both(recorded))
    assert means(recorded.protocol, one) == means(recorded.protocol, other)


@each_stream
def test_the_same_tokens_are_counted_and_the_same_status_is_settled(recorded: Recorded):
    one, other = both(recorded)
    for through in (one, other):
        relayed(through, recorded.raw)
    assert one.meter.usage == other.meter.usage
    assert (one.status, one.ended) == (other.status, other.ended)


@cases("wanted", [True, False], ids=["with-usage", "without"])
@each_stream
def test_output_begins_with_the_same_frame(recorded: Recorded, wanted: bool):
    """Neither may be rash: once output has begun a call cannot be tried elsewhere. A translation opens an
    item with what is in it; a relay shows the empty item at once."""
    begun: list[int] = []
    for through in (
        relay(recorded.protocol, recorded, usage=wanted),
        relay(recorded.protocol, recorded, translate=True, usage=wanted),
    ):
        frames = Parser().feed(recorded.raw)
        begun.append(next(n for n, frame in enumerate(frames) if _has_begun(through, frame)))
    assert begun[0] <= begun[1]


def _has_begun(through: UpstreamReader, frame: Frame) -> bool:
    through.forward([frame])
    return through.has_output


@cases(
    "recorded",
    lambda: [each for each in native(streams()) if each.values[0].protocol == "responses"],
)
def test_the_items_of_a_response_are_the_same_but_for_what_is_the_vendors(recorded: Recorded):
    outs = [relayed(through, recorded.raw) for through in both(recorded)]
    one, other = (meaning.responses_whole(out)["output"] for out in outs)
    assert [bare(item) for item in one if not is_empty(item)] == [bare(item) for item in other]


def is_empty(item: Json) -> bool:
    """Thought without words or seal, and messages of nothing: a translation leaves them out."""
    match item:
        case {"type": "message", "content": [*parts]}:
            return not any(part.get("text") or part.get("refusal") for part in parts)
        case {"type": "reasoning"}:
            return not (item["summary"] or item.get("content") or item.get("encrypted_content"))
    return False


def bare(value: Any) -> Any:
    """Return it without what may differ, and without nulls."""
    match value:
        case dict():
            named = {name: bare(inner) for name, inner in value.items() if name not in OWN}
            return {name: inner for name, inner in named.items() if inner not in (None, [])}
        case list():
            return [bare(inner) for inner in value]
    return value
