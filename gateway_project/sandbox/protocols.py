"""Register the three protocols the sandbox speaks, and their side routes, by path."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway_project.lib.json import Json
from gateway_project.sandbox import anthropic, beside, chat, responses, responses_events
from gateway_project.sandbox.ask import PlainRequest
from gateway_project.sandbox.frames import Frames, StreamTally
from gateway_project.sandbox.plan import AnswerPlan
from gateway_project.sandbox.stamp import Stamp


@dataclass(frozen=True, slots=True)
class Protocol:
    """A vendor's protocol as plain functions. One without `events` generates nothing and cannot be
    streamed.
    """

    name: str
    missing: Callable[[Json], str | None]
    read: Callable[[Json], PlainRequest]
    answer: Callable[[Json, AnswerPlan, Stamp], Json]
    events: Callable[[Json, AnswerPlan, Stamp, StreamTally], Frames] | None = None


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
