"""Pass Chat Completions through.

Every chunk repeats `id` and `model`. Their exact bytes are learned from the first chunk and replaced in
the others, so that a chunk's JSON stays byte for byte as the provider wrote it.

Most chunks of a stream differ from the one before in a piece of text alone. What stands around that text is
learned as well (`_Pattern`), and chunks of the same pattern are forwarded without parsing their JSON.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import orjson

from gateway_project.lib.errors import GatewayError, UpstreamCut, UpstreamMalformed
from gateway_project.lib.json import Json
from gateway_project.lib.sse import COMMENT, DONE, data_event
from responses_api.doors.chat.completion import Completion
from responses_api.doors.replay import MAX_KEPT_BYTES
from responses_api.doors.shapes import ModelCall
from responses_api.stream import response as response_object
from responses_api.stream import written
from responses_api.stream.answer_charge import AnswerCharge
from responses_api.stream.error_body import openai_error
from responses_api.stream.frames import FrameRelay
from responses_api.stream.upstream_reader import Identity, dump_json
from routing.protocols.chat import ending as chat_ending
from routing.protocols.chat.ending import Ending
from routing.protocols.chat.usage import in_chunk, meter
from routing.protocols.shared import failures, said
from routing.protocols.shared.fields import dicts
from routing.route import ResolvedTarget
from tenants.token_classes import Usage

# How often a stream may change the shape of its chunks before patterns are no longer looked for in it.
MOST_PATTERNS = 16


class _Pattern(NamedTuple):
    """The bytes around the text of a chunk, as the upstream writes them and as the client gets them."""

    before: bytes
    after: bytes
    own_before: bytes
    own_after: bytes


class ChatRelay(FrameRelay):
    """Implements `UpstreamReader` for Chat Completions."""

    __slots__ = (
        "_answer",
        "_completion",
        "_ending",
        "_holds_usage",
        "_include_usage",
        "_learned",
        "_most_bytes",
        "_own_id",
        "_own_model",
        "_pattern",
        "_patterns_left",
        "_tells_cost",
        "_upstream_id",
        "_upstream_model",
        "_usage_chunk",
    )

    def __init__(self, call: ModelCall, target: ResolvedTarget, identity: Identity) -> None:
        super().__init__(meter(), target, identity)
        self._include_usage = call.include_usage
        self._tells_cost = bool(call.tells_cost)
        self._holds_usage = False
        self._usage_chunk = (
            b""  # held back, because its `usage` is told anew once the charge is known
        )
        # Only a completion that is to be stored or given again is put together from its chunks.
        is_wanted = call.is_kept or call.body.get("store")
        self._completion = Completion(identity) if is_wanted else None
        self._most_bytes = math.inf if call.body.get("store") else MAX_KEPT_BYTES
        self._answer: Json | None = None
        self._own_id = self._own_model = b""  # what replaces them, spelled in the upstream's way
        self._learned: tuple[Any, Any] = (None, None)  # the upstream's id and model ...
        self._upstream_id = self._upstream_model = b""  # ... and their bytes in a chunk
        self._pattern: _Pattern | None = (
            None  # of the chunk before, where it held text and nothing else
        )
        self._patterns_left = MOST_PATTERNS if self._completion is None else 0
        self._ending = Ending()

    def body(self, raw: bytes) -> bytes:
        answer = self._parse(raw)
        if answer is None or not isinstance(answer.get("choices"), list):
            raise UpstreamMalformed(f"The provider {self._target.provider!r} sent no completion.")
        self.meter.observe(in_chunk(answer))
        said.note_answer(self.upstream_facts, answer)
        choices = dicts(answer["choices"])
        for choice in choices:
            self._read_choice(choice)
        self.service_tier = answer.get("service_tier")
        for choice in choices:
            said.note_reason(self.upstream_facts, choice.get("finish_reason"))
            self._refuse_failed(choice)
        self.has_output = self.ended = True
        own = {"id": self._identity.id, "model": self._identity.model}
        self._answer = {**answer, **own}
        self.closing = dump_json(self._answer, self._target)
        return self.closing

    def _read_choice(self, choice: Json) -> None:
        """Read a whole choice: its usage where Moonshot reports it, and its text where nobody reports any."""
        if "usage" in choice:
            self.meter.observe(choice["usage"])
        message = choice.get("message")
        if not self.meter.has_output and isinstance(message, dict):
            self.tally.add_text(written.of_message(message))

    def answer(self) -> Json | None:
        if self.status == "failed":
            return None
        return self._completion.whole() if self._completion and not self._answer else self._answer

    def closing_unstored(self) -> bytes:
        return self.closing  # a completion does not say whether it is stored

    def _take(self, data: bytes, pieces: list[bytes]) -> None:
        pattern = self._pattern
        if pattern is not None and self._take_text(data, pattern, pieces):
            return
        self._pattern = None
        chunk = self._parse(data)
        if chunk is None and data.strip() == b"[DONE]":
            pieces.append(self._end_whole(done=True))
        elif chunk is None:
            self.frames_dropped += 1
        elif self._is_wanted(chunk):
            rewritten = self._rewrite(data, chunk)
            if self._usage_chunk:
                pieces.append(self._release_usage())
            if self._holds_usage and isinstance(chunk.get("usage"), dict):
                self._usage_chunk = rewritten
            else:
                event = data_event(rewritten)
                pieces.append(event)
                if self._patterns_left and self.has_output:
                    self._learn_pattern(data, chunk, event)

    def _release_usage(self) -> bytes:
        """Give the chunk that was held back, as it came."""
        held, self._usage_chunk = self._usage_chunk, b""
        return data_event(held) if held else b""

    def _take_text(self, data: bytes, pattern: _Pattern, pieces: list[bytes]) -> bool:
        """Forward a chunk that differs from the one before in its text alone; False if it is another."""
        before, after, own_before, own_after = pattern
        if not (data.startswith(before) and data.endswith(after)):
            return False
        quoted = data[len(before) : -len(after)]
        try:
            text = orjson.loads(quoted)
        except orjson.JSONDecodeError:
            return False
        if type(text) is not str:
            return False
        if text:
            self.tally.add(len(text) if text.isascii() else written.text_bytes(text))
        pieces.append(own_before + quoted + own_after)
        return True

    def _learn_pattern(self, data: bytes, chunk: Json, event: bytes) -> None:
        """Keep what stands around the text, if the chunk says nothing else that has to be noted again."""
        found = _only_text(chunk)
        if found is None:
            return
        name, text = found
        quoted = orjson.dumps(text)
        if data.count(quoted) != 1 or event.count(quoted) != 1:
            return
        self._patterns_left -= 1
        before, _, after = data.partition(quoted)
        own_before, _, own_after = event.partition(quoted)
        if orjson.loads(before + b"0" + after) == _with_delta(chunk, name, 0):
            self._pattern = _Pattern(before, after, own_before, own_after)

    def finish(self) -> bytes:
        """End a stream without `[DONE]`."""
        return b"" if self.ended else self._release([self._end_whole(done=False)])

    def _end_whole(self, *, done: bool) -> bytes:
        if not self._ending.is_whole(done=done):
            raise UpstreamCut(f"The provider {self._target.provider!r} ended the stream too early.")
        return self._end()

    def announce(self) -> bytes:
        return COMMENT

    keepalive = announce

    def failed(self, error: GatewayError) -> bytes:
        """End with an error and no `[DONE]`: the SDKs raise on it (docs/wire.md 8.6)."""
        self.ended = True
        self.status = "failed"
        self.closing = data_event(openai_error(error))
        return self._release_usage() + self.closing

    def tell_usage(self, charge: AnswerCharge) -> bytes:
        if self._answer is not None:
            report = charge.chat_report(self._answer.get("usage"))
            self._answer = {**self._answer, "usage": report}
            self.closing = dump_json(self._answer, self._target)
        elif self._include_usage:
            chunk = orjson.loads(self._usage_chunk) if self._usage_chunk else self._own_chunk([])
            told = {**chunk, "usage": charge.chat_report(chunk.get("usage"))}
            self.closing = data_event(dump_json(told, self._target)) + DONE
        if self._completion is not None:
            self._completion.add({"usage": charge.chat_report(self._completion.usage)})
        return self.closing

    def _parse(self, data: bytes) -> Json | None:
        """Parse the object in `data`; None if there is none. Raises the UpstreamError it reports."""
        try:
            parsed = orjson.loads(data)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(parsed, dict):
            return None
        if (error := parsed.get("error")) is not None:
            raise failures.of_event(self._target, error)
        return parsed

    def _is_wanted(self, chunk: Json) -> bool:
        """Take notes; False for the usage chunk of a client that did not ask for it."""
        if self._completion is not None:
            self._completion.add(chunk)
            if self.tally.size > self._most_bytes:
                self._completion = None
        said.note_answer(self.upstream_facts, chunk)
        choices = chunk.get("choices")
        usage = chunk.get("usage")
        if usage is None and "x_groq" in chunk:
            usage = in_chunk(chunk)
        if chunk.get("service_tier") is not None:
            self.service_tier = chunk["service_tier"]
        if usage is not None or self._ending.saw_usage:
            self._ending.usage(is_there=bool(usage))
        if usage is not None:
            self.meter.observe(usage)
            if not choices and not self._include_usage:
                return False
            self._holds_usage = self._include_usage and (self._tells_cost or self.meter.has_earlier)
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._note(choice)
        return True

    def _note(self, choice: Json) -> None:
        if "usage" in choice:  # Moonshot reports it here
            self.meter.observe(choice["usage"])
        if self._ending.choice(choice):
            said.note_reason(self.upstream_facts, choice.get("finish_reason"))
            self._refuse_failed(choice)
            self.has_output = True
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return
        if size := written.of_message(delta):
            self.tally.add(size)
        if not self.has_output:
            self.has_output = any(value for name, value in delta.items() if name != "role")

    def _refuse_failed(self, choice: Json) -> None:
        """Raise the failure that stands in the place of a reason; note a filter that ended the answer."""
        if (failure := chat_ending.failure(choice, self._target)) is not None:
            raise failure
        if choice.get("finish_reason") != "stop" and chat_ending.is_filtered(choice):
            self.is_filtered, self.status = True, "incomplete"

    def cut_short(self, usage: Usage, why: str) -> bytes:
        """End as if the model had reached its limit, which is how clients know an answer that is not
        whole."""
        self.status = "incomplete"
        held = self._release_usage()
        chunks = [self._own_chunk([_ending(index)]) for index in self._ending.unfinished]
        endings = [data_event(orjson.dumps(chunk)) for chunk in chunks]
        if self._include_usage:
            self._usage_chunk = orjson.dumps(self._own_chunk([], _reported(usage)))
        return b"".join([held, *endings, self._end()])

    def _own_chunk(self, choices: list[Json], usage: Json | None = None) -> Json:
        """Write a chunk that the upstream did not send."""
        identity = self._identity
        chunk = {
            "id": identity.id,
            "object": "chat.completion.chunk",
            "created": identity.created_at,
            "model": identity.model,
            "choices": choices,
            **({"usage": usage} if self._include_usage else {}),
        }
        if self._completion is not None:
            self._completion.add(chunk)
        return chunk

    def _rewrite(self, data: bytes, chunk: Json) -> bytes:
        if (chunk.get("id"), chunk.get("model")) != self._learned:
            self._learn(data, chunk)
        known = self._upstream_id
        if not known or data.count(known) != 1 or data.count(self._upstream_model) != 1:
            own = {"id": self._identity.id, "model": self._identity.model}
            return dump_json({**chunk, **own}, self._target)
        return data.replace(self._upstream_id, self._own_id, 1).replace(
            self._upstream_model, self._own_model, 1
        )

    def _learn(self, data: bytes, chunk: Json) -> None:
        """Find how id and model are written in this chunk; if replacing them there does not give what
        rewriting the JSON gives, the patterns stay empty and chunks are rewritten the slow way."""
        self._learned = (chunk.get("id"), chunk.get("model"))
        expected = {**chunk, "id": self._identity.id, "model": self._identity.model}
        for colon in (b":", b": "):
            id_key, model_key = b'"id"' + colon, b'"model"' + colon
            id_bytes = id_key + orjson.dumps(chunk.get("id"))
            model_bytes = model_key + orjson.dumps(chunk.get("model"))
            own_id = id_key + orjson.dumps(self._identity.id)
            own_model = model_key + orjson.dumps(self._identity.model)
            tried = data.replace(id_bytes, own_id, 1).replace(model_bytes, own_model, 1)
            if orjson.loads(tried) == expected:
                self._upstream_id, self._upstream_model = id_bytes, model_bytes
                self._own_id, self._own_model = own_id, own_model
                return
        self._upstream_id = self._upstream_model = b""

    def _end(self) -> bytes:
        self.ended = self.has_output = True
        self.closing = (data_event(self._usage_chunk) if self._usage_chunk else b"") + DONE
        return self.closing


def _only_text(chunk: Json) -> tuple[str, str] | None:
    """Return the field and the text of a chunk that holds a piece of text and nothing else of importance."""
    choices = chunk["choices"] if isinstance(chunk.get("choices"), list) else []
    if len(choices) != 1 or chunk.get("usage") is not None or "x_groq" in chunk:
        return None
    choice = choices[0]
    if not isinstance(choice, dict) or not isinstance(choice.get("delta"), dict):
        return None
    if choice.get("finish_reason") is not None or choice.get("usage") is not None:
        return None
    fields = [(name, value) for name, value in choice["delta"].items() if name != "role"]
    if len(fields) != 1 or not isinstance(fields[0][1], str) or fields[0][0] in ("id", "type"):
        return None
    return fields[0]


def _with_delta(chunk: Json, name: str, value: Any) -> Json:
    choice = chunk["choices"][0]
    return {**chunk, "choices": [{**choice, "delta": {**choice["delta"], name: value}}]}


def _ending(index: int) -> Json:
    return {"index": index, "delta": {}, "logprobs": None, "finish_reason": "length"}


def _reported(usage: Usage) -> Json:
    report = response_object.usage_report(usage)
    assert report is not None
    return response_object.chat_usage(report)
