"""The three protocols the sandbox speaks, and what else two of them offer, by the path of the route."""

from collections.abc import Callable
from dataclasses import dataclass

from routing.sandbox import anthropic, beside, chat, responses, responses_events
from routing.sandbox.ask import Ask
from routing.sandbox.frames import Frames, Json, Tally
from routing.sandbox.plan import Plan
from routing.sandbox.stamp import Stamp


@dataclass(frozen=True, slots=True)
class Protocol:
    """One vendor's way to ask and to answer, as plain functions. What has no `events` says nothing to a
    user and cannot be streamed."""

    name: str
    missing: Callable[[Json], str | None]
    read: Callable[[Json], Ask]
    answer: Callable[[Json, Plan, Stamp], Json]
    events: Callable[[Json, Plan, Stamp, Tally], Frames] | None = None


PROTOCOLS = {
    "/v1/chat/completions": Protocol("chat", chat.missing, chat.read, chat.answer, chat.events),
    "/v1/responses": Protocol(
        "responses",
        responses.missing,
        responses.read,
        responses.answer,
        responses_events.events,
    ),
    "/v1/messages": Protocol(
        "anthropic", anthropic.missing, anthropic.read, anthropic.answer, anthropic.events
    ),
    "/v1/responses/input_tokens": Protocol(
        "responses", responses.missing, responses.read, beside.input_tokens
    ),
    "/v1/responses/compact": Protocol(
        "responses", responses.missing, responses.read, beside.compaction
    ),
    "/v1/messages/count_tokens": Protocol(
        "anthropic", beside.missing_to_count, beside.read_to_count, beside.count_tokens
    ),
}
