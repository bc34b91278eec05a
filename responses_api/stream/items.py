"""Output items while they are being written: what was said so far, and the JSON it makes."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal, Protocol

from gateway_project.lib.json import Json
from gateway_project.lib.structure import is_json
from responses_api.stream.steps import Appended, Kind, Place, Step

Status = Literal["in_progress", "completed", "incomplete"]


class Unwrapping(Protocol):
    """Turns pieces of a custom tool's JSON wrapping into pieces of its plain input."""

    def feed(self, piece: str) -> str: ...

    def finish(self) -> str: ...


class OutputPart:
    """A part of a message or of a reasoning item, being written. `key` is the upstream's."""

    __slots__ = ("_annotations", "_logprobs", "_pieces", "key", "kind", "place")

    def __init__(self, place: Place, key: Hashable) -> None:
        self.place = place
        self.kind = place.kind
        self.key = key
        self._pieces: list[str] = []
        self._logprobs: list[Json] = []
        self._annotations: list[Json] = []

    def write(self, text: str, logprobs: tuple[Json, ...] = ()) -> Appended:
        self._pieces.append(text)
        if logprobs:
            self._logprobs += logprobs
        return Appended(self.place, text, logprobs)

    def annotate(self, annotation: Json) -> Appended:
        self._annotations.append(annotation)
        return Appended(self.place, "", (), annotation, len(self._annotations) - 1)

    def value(self) -> Json:
        text = "".join(self._pieces)
        match self.kind:
            case "text":
                return {
                    "type": "output_text",
                    "text": text,
                    "annotations": list(self._annotations),
                    "logprobs": list(self._logprobs),
                }
            case "refusal":
                return {"type": "refusal", "refusal": text}
            case "summary":
                return {"type": "summary_text", "text": text}
            case _:
                return {"type": "reasoning_text", "text": text}


class OutputMessage:
    """Holds what the model says. `owner` is the upstream's item, if it has such; `phase` may be absent,
    but must not be null (docs/wire.md 4.2)."""

    __slots__ = ("_content", "owner", "phase", "place")

    def __init__(self, place: Place, owner: Hashable, phase: str | None) -> None:
        self.place = place
        self.owner = owner
        self.phase = phase
        self._content: list[Json] = []

    def part(self, kind: Kind, key: Hashable) -> OutputPart:
        place = self.place
        return OutputPart(Place(kind, place.item_id, place.output_index, len(self._content)), key)

    def keep(self, part: OutputPart) -> Json:
        self._content.append(part.value())
        return self._content[-1]

    def value(self, status: Status) -> Json:
        value: Json = {
            "id": self.place.item_id,
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": list(self._content),
        }
        if self.phase is not None:
            value["phase"] = self.phase
        return value


class Thought:
    """A reasoning item. `sealed` is what must come back unmodified; it is known last of all."""

    __slots__ = ("_content", "_summary", "key", "place", "sealed")

    def __init__(self, place: Place, key: Hashable) -> None:
        self.place = place
        self.key = key
        self.sealed: str | None = None
        self._summary: list[Json] = []
        self._content: list[Json] = []

    def part(self, kind: Kind, key: Hashable) -> OutputPart:
        place, before = self.place, self._list(kind)
        return OutputPart(Place(kind, place.item_id, place.output_index, len(before)), key)

    def keep(self, part: OutputPart) -> Json:
        value = part.value()
        self._list(part.kind).append(value)
        return value

    def value(self, status: Status) -> Json:
        value: Json = {
            "id": self.place.item_id,
            "type": "reasoning",
            "status": status,
            "summary": list(self._summary),
        }
        if self._content:
            value["content"] = list(self._content)
        if self.sealed is not None and status != "in_progress":
            value["encrypted_content"] = self.sealed
        return value

    def _list(self, kind: Kind) -> list[Json]:
        return self._summary if kind == "summary" else self._content


class Call:
    """A tool call. `fields` are its type, name and namespace as the client knows them."""

    __slots__ = (
        "_call_id",
        "_fields",
        "_raw",
        "_text",
        "_unwrapping",
        "is_open",
        "place",
        "text_place",
    )

    def __init__(
        self, place: Place, fields: Json, call_id: str, unwrapping: Unwrapping | None
    ) -> None:
        self.place = place
        self._fields = fields
        self._call_id = call_id
        self._unwrapping = unwrapping
        self._raw: list[str] = []
        self._text: list[str] = []
        self.is_open = True
        kind: Kind = "input" if self.is_custom else "arguments"
        self.text_place = Place(kind, place.item_id, place.output_index)

    @property
    def is_custom(self) -> bool:
        return bool(self._fields["type"] == "custom_tool_call")

    @property
    def is_whole(self) -> bool:
        """Return whether the arguments so far are complete JSON, so that no more can follow; of plain text
        that cannot be known."""
        if self.is_custom and self._unwrapping is None:
            return False
        return is_json("".join(self._raw))

    def write(self, piece: str) -> list[Step]:
        self._raw.append(piece)
        return self._appended(self._unwrapping.feed(piece) if self._unwrapping else piece)

    def finish(self, status: Status) -> list[Step]:
        """Return the missing rest of the text. A call without arguments must have empty ones, because
        clients parse them as JSON."""
        if self._unwrapping is not None:
            return self._appended(self._unwrapping.finish())
        missing = not self.is_custom and status == "completed" and not "".join(self._text).strip()
        return self._appended("{}") if missing else []

    def value(self, status: Status) -> Json:
        return {
            "id": self.place.item_id,
            "status": status,
            "call_id": self._call_id,
            **self._fields,
            self.text_place.kind: "".join(self._text),
        }

    def _appended(self, text: str) -> list[Step]:
        if not text:
            return []
        self._text.append(text)
        return [Appended(self.text_place, text)]
