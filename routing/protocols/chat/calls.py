"""Tell apart the tool calls that chat vendors stream, whatever they leave out.

By the protocol a call's pieces share an `index`, and id and name come with the first. Vendors send
calls without index or id, several whole calls under index 0 (Gemini), a new id with every piece (older
vLLM), or repeat id and name, also as "" or null (docs/wire.md, pitfalls 15 and 16).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from gateway_project.lib.json import Json
from gateway_project.lib.structure import is_json
from routing.protocols.shared.deltas import ToolCall
from routing.protocols.shared.fields import compact, mapping, text


@dataclass(slots=True)
class _Call:
    key: Hashable
    kind: str
    call_id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    announced: bool = False

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)


class Calls:
    """The calls of one answer, keyed in order of first sight."""

    __slots__ = ("_by_id", "_by_index", "_calls")

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_id: dict[str, _Call] = {}
        self._by_index: dict[Any, _Call] = {}

    @property
    def seen(self) -> bool:
        """Tell whether there is a call that the client can answer."""
        return any(call.name for call in self._calls)

    def take(self, piece: Json) -> list[ToolCall]:
        """Read an entry of `tool_calls`, whole or a piece."""
        kind = "custom" if isinstance(piece.get("custom"), dict) else "function"
        called = mapping(piece.get(kind))
        call_id, name = text(piece.get("id")), text(called.get("name"))
        arguments = _write_arguments(called.get("input" if kind == "custom" else "arguments"))
        index = piece.get("index")
        call = self._find_continued(index, call_id, name, arguments)
        if call is None:
            call = _Call(("call", len(self._calls)), kind)
            self._calls.append(call)
        self._remember(call, index, call_id, name)
        return self._add(call, arguments)

    def finish(self, *, is_whole: bool) -> list[ToolCall]:
        """Give what was held back. A function without arguments has an empty object of them."""
        held: list[ToolCall] = []
        for call in self._calls:
            arguments = "{}" if is_whole and call.kind == "function" and not call.pieces else ""
            if call.name and not call.announced:
                held.append(ToolCall(call.key, arguments, call.call_id, call.name))
            elif call.name and arguments:
                held.append(ToolCall(call.key, arguments))
        return held

    @property
    def nameless(self) -> bool:
        """Tell whether a call has arguments but was never named, so that nobody can run it."""
        return any(call.pieces and not call.name for call in self._calls)

    def _find_continued(self, index: Any, call_id: str, name: str, arguments: str) -> _Call | None:
        """Find the call that a piece belongs to; None if the piece begins another."""
        if call_id and call_id in self._by_id:
            return self._by_id[call_id]
        if isinstance(index, int):
            known = self._by_index.get(index)
        else:
            known = self._calls[-1] if self._calls else None
        if known is None or not name or not known.name:
            return known
        if not isinstance(index, int) or (call_id and known.call_id):
            return None
        is_another = arguments and _is_complete(known.arguments)
        return None if is_another else known  # or the name is only repeated

    def _remember(self, call: _Call, index: Any, call_id: str, name: str) -> None:
        call.call_id = call.call_id or call_id
        call.name = call.name or name
        if call_id:
            self._by_id.setdefault(call_id, call)
        if isinstance(index, int):
            self._by_index[index] = call

    def _add(self, call: _Call, arguments: str) -> list[ToolCall]:
        """Give the piece once it is known what is called; the id may come one piece after the name."""
        if arguments:
            call.pieces.append(arguments)
        if call.announced:
            return [ToolCall(call.key, arguments)] if arguments else []
        if not call.name or not (call.call_id or call.pieces):
            return []
        call.announced = True
        return [ToolCall(call.key, call.arguments, call.call_id, call.name)]


def _write_arguments(arguments: Any) -> str:
    """Write arguments as JSON text; some servers send the object itself."""
    if isinstance(arguments, str):
        return arguments
    return compact(arguments) if isinstance(arguments, dict) else ""


def _is_complete(arguments: str) -> bool:
    return is_json(arguments)
