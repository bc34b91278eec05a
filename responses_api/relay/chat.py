"""Chat Completions to Chat Completions.

Every chunk repeats `id` and `model`. Their exact bytes are learned from the first chunk and replaced in
the others, so that a chunk's JSON stays byte for byte as the provider wrote it.
"""

from __future__ import annotations

from typing import Any

import orjson

from gateway_project.lib.errors import GatewayError, UpstreamCut, UpstreamMalformed
from gateway_project.lib.sse import COMMENT, DONE, data_event
from responses_api import response_object
from responses_api.doors.shapes import ModelCall
from responses_api.relay import Identity, dumped, written
from responses_api.relay.completion import Completion
from responses_api.relay.frames import FrameRelay
from routing.protocols import chat_ending, failures
from routing.protocols.chat_ending import Ending
from routing.protocols.fields import dicts
from routing.protocols.usage import in_chunk
from routing.route import Target
from tenants.token_classes import Usage

Json = dict[str, Any]


class ChatRelay(FrameRelay):
    """Implements `Relay` for Chat Completions."""

    __slots__ = (
        "_answer",
        "_completion",
        "_ending",
        "_include_usage",
        "_learned",
        "_own_id",
        "_own_model",
        "_upstream_id",
        "_upstream_model",
    )

    def __init__(self, call: ModelCall, target: Target, identity: Identity) -> None:
        super().__init__("chat", target, identity)
        self._include_usage = call.include_usage
        # Only a completion that is to be kept is put together from its chunks.
        self._completion = Completion(identity) if call.body.get("store") else None
        self._answer: Json | None = None
        self._own_id = self._own_model = b""  # what replaces them, spelled in the upstream's way
        self._learned: tuple[Any, Any] = (None, None)  # the upstream's id and model ...
        self._upstream_id = self._upstream_model = b""  # ... and their bytes in a chunk
        self._ending = Ending()

    def body(self, raw: bytes) -> bytes:
        answer = self._parsed(raw)
        if answer is None or not isinstance(answer.get("choices"), list):
            raise UpstreamMalformed(f"The provider {self._target.provider!r} sent no completion.")
        self.meter.observe(in_chunk(answer))
        for choice in answer["choices"]:
            self._read_choice(choice)
        self.service_tier = answer.get("service_tier")
        for choice in dicts(answer["choices"]):
            self._refuse_failed(choice)
        self.has_output = self.ended = True
        own = {"id": self._identity.id, "model": self._identity.model}
        self._answer = {**answer, **own}
        self.closing = dumped(self._answer, self._target)
        return self.closing

    def _read_choice(self, choice: Any) -> None:
        """A whole choice: its usage where Moonshot reports it, and its text where nobody reports any."""
        if not isinstance(choice, dict):
            return
        self.meter.observe(choice.get("usage"))
        message = choice.get("message")
        if not self.meter.has_output and isinstance(message, dict):
            self.tally.add_text(written.of_message(message))

    def answer(self) -> Json | None:
        if self.status == "failed":
            return None
        return self._completion.whole() if self._completion and not self._answer else self._answer

    def unkept(self) -> bytes:
        return self.closing  # a completion does not say whether it is stored

    def _take(self, data: bytes, pieces: list[bytes]) -> None:
        chunk = self._parsed(data)
        if chunk is None and data.strip() == b"[DONE]":
            pieces.append(self._ended(done=True))
        elif chunk is None:
            self.frames_dropped += 1
        elif self._is_wanted(chunk):
            pieces.append(data_event(self._rewritten(data, chunk)))

    def finish(self) -> bytes:
        """The end of a stream without `[DONE]`."""
        return b"" if self.ended else self._released([self._ended(done=False)])

    def _ended(self, *, done: bool) -> bytes:
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
        self.closing = data_event(orjson.dumps(error.body()))
        return self.closing

    def _parsed(self, data: bytes) -> Json | None:
        """The object in `data`, None if there is none. Raises the UpstreamError it reports."""
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
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._note(choice)
        return True

    def _note(self, choice: Json) -> None:
        if "usage" in choice:  # Moonshot reports it here
            self.meter.observe(choice["usage"])
        if self._ending.choice(choice):
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
        """Raise the failure that stands in the place of a reason."""
        if (failure := chat_ending.failure(choice, self._target)) is not None:
            raise failure

    def cut_short(self, usage: Usage, why: str) -> bytes:
        """As if the model had reached its limit, which is how clients know an answer that is not whole."""
        self.status = "incomplete"
        pieces = [self._chunk([_ending(index)]) for index in self._ending.unfinished]
        if self._include_usage:
            pieces.append(self._chunk([], _reported(usage)))
        return b"".join([*pieces, self._end()])

    def _chunk(self, choices: list[Json], usage: Json | None = None) -> bytes:
        """A chunk of our own."""
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
        return data_event(orjson.dumps(chunk))

    def _rewritten(self, data: bytes, chunk: Json) -> bytes:
        if (chunk.get("id"), chunk.get("model")) != self._learned:
            self._learn(data, chunk)
        known = self._upstream_id
        if not known or data.count(known) != 1 or data.count(self._upstream_model) != 1:
            own = {"id": self._identity.id, "model": self._identity.model}
            return dumped({**chunk, **own}, self._target)
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
        self.closing = DONE
        return DONE


def _ending(index: int) -> Json:
    return {"index": index, "delta": {}, "logprobs": None, "finish_reason": "length"}


def _reported(usage: Usage) -> Json:
    report = response_object.usage_report(usage)
    assert report is not None
    return response_object.chat_usage(report)
