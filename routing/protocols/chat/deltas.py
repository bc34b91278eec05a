"""Read answers of an upstream that speaks Chat Completions as deltas.

Only the first choice is read: a call that asks for more of them is relayed or refused. `Stop` waits for
the usage that vendors send after `finish_reason` (docs/wire.md, pitfall 26), for `[DONE]`, or for the end of
the stream where both are missing; whether that was an end is decided by `chat_ending`.
"""

from __future__ import annotations

from typing import Any, Literal

from gateway_project.lib.errors import UpstreamMalformed
from gateway_project.lib.json import Json
from gateway_project.lib.sse import Frame
from routing.protocols.chat import ending as chat_ending
from routing.protocols.chat import usage
from routing.protocols.chat.calls import Calls
from routing.protocols.chat.ending import Ending
from routing.protocols.chat.pattern import TextPattern
from routing.protocols.chat.thoughts import FIELDS, Thoughts
from routing.protocols.shared import citations, failures, logprobs, said
from routing.protocols.shared.deltas import Delta, Refusal, Stop, Text
from routing.protocols.shared.fields import dicts, mapping, parse, text
from routing.route import ResolvedTarget

Reason = Literal["stop", "tool_calls", "length", "content_filter"]

DONE = b"[DONE]"
_THOUGHTS = frozenset(FIELDS)
_FACTS = ("service_tier", "system_fingerprint")
_REASONS: dict[str, Reason] = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",  # Mistral: the context window is full
    **dict.fromkeys(chat_ending.FILTERED, "content_filter"),
}


class ChatDeltas:
    """Read one answer. `dropped` counts the frames that could not be read."""

    __slots__ = (
        "_calls",
        "_ending",
        "_finish_reason",
        "_length",
        "_sources",
        "_stopped",
        "_target",
        "_thoughts",
        "done",
        "dropped",
        "facts",
        "meter",
        "pattern",
    )  # fmt: skip

    def __init__(self, target: ResolvedTarget) -> None:
        self._target = target
        self._thoughts = Thoughts(target.provider)
        self._calls = Calls()
        self._ending = Ending()
        self._sources: Json = {}
        self._length = 0
        self.pattern = TextPattern()
        self._finish_reason = ""
        self._stopped = False
        self.meter = usage.meter()
        self.done = False
        self.dropped = 0
        self.facts: Json = {}

    def deltas(self, frame: Frame) -> list[Delta]:
        """Read a frame. Raises the UpstreamError it reports."""
        if self.done:
            return []
        if (words := self.pattern.text(frame)) is not None:
            self._length += len(words)
            return [Text("content", words)] if words else []
        if frame.data.strip() == DONE:
            self.done = True
            return self._stop() if self._ending.is_whole(done=True) else []
        chunk = parse(frame.data)
        if chunk is None:
            self.dropped += 1
            return []
        if frame.event == b"error":
            raise failures.of_event(self._target, chunk.get("error") or chunk)
        found = self._chunk(chunk)
        if len(found) == 1 and found[0].__class__ is Text:
            self.pattern.learn(frame.data, chunk, found[0].text)
        return found

    def body(self, raw: bytes) -> list[Delta]:
        """Read a whole JSON answer. Raises UpstreamError if it is none."""
        answer = parse(raw)
        choice = _first_of(dicts(answer.get("choices"))) if answer is not None else None
        if answer is None or choice is None or not isinstance(choice.get("message"), dict):
            if answer is not None:
                self.meter.observe(usage.in_chunk(answer))
            raise self._no_answer(raw)
        self._note(answer)
        found = self._choice(choice, choice["message"])
        self.done = True
        return found + self._stop()

    def finish(self) -> list[Delta]:
        """Give what was held back, now that the connection has ended; no Stop if that was not the end."""
        return self._stop() if self._ending.is_whole(done=False) else []

    def _no_answer(self, raw: bytes) -> Exception:
        if error := failures.error_in(raw):
            return failures.of_event(self._target, error)
        return UpstreamMalformed(f"The provider {self._target.provider!r} sent no completion.")

    def _chunk(self, chunk: Json) -> list[Delta]:
        has_usage = self._note(chunk)
        if self._stopped:
            return []
        choices = dicts(chunk.get("choices"))
        self._note_ending(choices, has_usage=has_usage)
        choice = _first_of(choices)
        found: list[Delta] = []
        if choice is not None:
            is_last = bool(choice.get("finish_reason"))
            found = self._choice(choice, mapping(choice.get("delta")))
            if is_last:
                return found
        if has_usage and not found and self._ending.is_whole(done=False):
            return self._stop()
        return found

    def _note_ending(self, choices: list[Json], *, has_usage: bool) -> None:
        ending = self._ending
        if has_usage or ending.saw_usage:
            ending.usage(is_there=has_usage)
        for choice in choices:
            ending.choice(choice)

    def _note(self, answer: Json) -> bool:
        """Take in what stands beside the choices; tells whether it held usage. Raises its error."""
        report = usage.in_chunk(answer)
        if report:
            self.meter.observe(report)
        if error := answer.get("error"):
            raise failures.of_event(self._target, error)
        if answer.get("object") == "error":  # vLLM's, without an envelope
            raise failures.of_event(self._target, answer)
        said.note_answer(self.facts, answer)
        for name in _FACTS:
            if isinstance(answer.get(name), str):
                self.facts[name] = answer[name]
        if "citations" in answer or "search_results" in answer:
            self._sources = answer  # the list grows from chunk to chunk
        return bool(report)

    def _choice(self, choice: Json, message: Json) -> list[Delta]:
        if choice.get("usage"):  # Moonshot reports it here
            self.meter.observe(choice["usage"])
        found: list[Delta] = []
        if _THOUGHTS & message.keys():
            found += self._thoughts.take(message)
        found += self._read_said(message, mapping(choice.get("logprobs")))
        found += self._read_calls(message)
        if reason := choice.get("finish_reason"):
            self._read_end(text(reason).lower(), choice)
        return found

    def _read_said(self, message: Json, tokens: Json) -> list[Delta]:
        """Read text with what belongs to it, and a refusal."""
        found: list[Delta] = []
        content, words = message.get("content"), ""
        if isinstance(content, str):
            words = content
        elif content:
            words = self._of_parts(dicts(content), found)
        marks = citations.of_chat(message["annotations"]) if message.get("annotations") else ()
        probabilities = logprobs.of_tokens(tokens.get("content")) if tokens else ()
        if words or marks or probabilities:
            found += self._thoughts.close()
            self._length += len(words)
            found.append(Text("content", words, marks, probabilities))
        if refusal := text(message.get("refusal")):
            found += self._thoughts.close()
            found.append(Refusal("refusal", refusal))
        return found

    def _of_parts(self, parts: list[Json], found: list[Delta]) -> str:
        """Read content as a list, where Mistral's models think.

        https://docs.mistral.ai/capabilities/reasoning
        """
        words = ""
        for part in parts:
            if part.get("type") == "thinking":
                thought = part.get("thinking")
                said = thought if isinstance(thought, str) else _join(thought)
                found += self._thoughts.said(said)
            else:
                words += text(part.get("text"))
        return words

    def _read_calls(self, message: Json) -> list[Delta]:
        pieces = dicts(message.get("tool_calls"))
        if isinstance(message.get("function_call"), dict):  # the form before tools
            pieces.append({"index": -1, "function": message["function_call"]})
        if not pieces:
            return []
        return [
            *self._thoughts.close(),
            *(delta for piece in pieces for delta in self._calls.take(piece)),
        ]

    def _read_end(self, reason: str, choice: Json) -> None:
        if (failure := chat_ending.failure(choice, self._target)) is not None:
            raise failure
        self._finish_reason = reason
        said.note_reason(self.facts, reason)

    def _stop(self) -> list[Delta]:
        if self._stopped:
            return []
        if self._calls.nameless:
            raise UpstreamMalformed(
                f"The provider {self._target.provider!r} called a tool without a name."
            )
        self._stopped = True
        reason = _REASONS.get(self._finish_reason)
        found: list[Delta] = [*self._thoughts.close(), *self._calls.finish(is_whole=reason is None)]
        if self._length and (sources := citations.of_sources(self._sources, self._length)):
            found.append(Text("content", "", sources))
        # Some vendors say `stop` after calls, and some `tool_calls` without any.
        return [*found, Stop(reason or ("tool_calls" if self._calls.seen else "stop"))]


def _first_of(choices: list[Json]) -> Json | None:
    for choice in choices:
        if not choice.get("index"):
            return choice
    return None


def _join(parts: Any) -> str:
    return "".join(text(part.get("text")) for part in dicts(parts))
