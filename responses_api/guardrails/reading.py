"""Read every text of a request, and write changed ones back into it.

A door walks through its body with a visitor, which is asked for each text and answers with the text that
takes its place. Reading and writing are the same walk, so that no text can be read and not be written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from gateway_project.lib.json import Json
from responses_api.guardrails import inline_data, json_text
from responses_api.guardrails.spec import (
    DefinedTool,
    RequestContents,
    RequestSegment,
    UnreadableContent,
)
from routing.protocols.shared import envelope

# Fields that hold an id, a word of the protocol, or what only its maker can read. Any other text in them is
# read as well: anybody may write there what they like, and some upstreams show it to their models.
NO_TEXT = frozenset(
    {
        "type", "id", "call_id", "item_id", "status", "role", "phase", "detail", "encrypted_content",
        "container_id", "file_id", "response_id", "tool_call_id", "approval_request_id",
    }
)  # fmt: skip
AUDIO = NO_TEXT | {"data"}  # of a part that is heard
_NAMES = frozenset({"model", "conversation"})  # of what the gateway itself looks up
_UNREADABLE = frozenset({"encrypted_content", "data", "result"})  # as long as they are base64
# Not all there are: others are searched, which costs a little.
_WORDS = frozenset(
    {
        "user", "assistant", "system", "developer", "tool", "function", "message", "text", "input_text",
        "output_text", "summary_text", "reasoning_text", "refusal", "image_url", "file", "input_image",
        "input_file", "input_audio", "computer_screenshot", "reasoning", "compaction", "item_reference",
        "function_call", "function_call_output", "custom", "custom_tool_call", "custom_tool_call_output",
        "namespace", "mcp", "mcp_call", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response",
        "web_search", "web_search_preview", "web_search_call", "file_search", "file_search_call",
        "code_interpreter", "code_interpreter_call", "image_generation", "image_generation_call",
        "local_shell", "local_shell_call", "local_shell_call_output", "shell", "shell_call",
        "shell_call_output", "apply_patch", "apply_patch_call", "apply_patch_call_output",
        "computer_call", "computer_call_output", "computer_use_preview", "tool_search",
        "tool_search_call", "tool_search_output", "additional_tools", "in_progress", "completed",
        "incomplete", "failed", "commentary", "final_answer", "auto", "default", "flex", "priority",
        "none", "minimal", "low", "medium", "high", "xhigh", "disabled", "24h", "in_memory",
    }
)  # fmt: skip
_SEALS = frozenset({"data", "signature"})
_ID = re.compile(r"[A-Za-z0-9_.:=+/|-]{0,256}")
_CONTAINERS = frozenset({dict, list})


class Visitor:
    """Collect what a request holds. `texts`, if they are given, take the place of its own, one after the
    other."""

    def __init__(self, texts: Iterator[str] | None = None) -> None:
        self._texts = texts
        self._segments: list[RequestSegment] = []
        self._tools: list[DefinedTool] = []
        self._opaque: list[UnreadableContent] = []
        self._roles: list[tuple[str, str]] = []
        self._images = 0
        self._files = 0

    @property
    def contents(self) -> RequestContents:
        return RequestContents(
            tuple(self._segments),
            tuple(self._tools),
            tuple(self._opaque),
            tuple(self._roles),
            self._images,
            self._files,
        )

    # What a door tells

    def text(self, surface: str, role: str, param: str, text: Any) -> Any:
        """Visit a text; anything that is none stays as it is."""
        if text.__class__ is not str or not text:
            return text
        if self._texts is not None:
            return next(self._texts)
        self._segments.append(RequestSegment(surface, role, param, text))
        return text

    def json(self, surface: str, role: str, param: str, raw: Any) -> Any:
        """Visit the texts inside JSON that travels as text; a text that is no JSON as a whole."""
        if raw.__class__ is not str or not json_text.is_container(raw):
            return self.text(surface, role, param, raw)
        changed = json_text.rewrite(raw, lambda text: self.text(surface, role, param, text))
        return raw if changed == raw else changed

    def strings(
        self,
        surface: str,
        role: str,
        param: str,
        value: Any,
        skip: frozenset[str] = NO_TEXT,
        *,
        with_keys: bool = False,
    ) -> Any:
        """Visit all texts of a value, except in the fields to skip; `with_keys`: anybody chose its keys, so
        that they are texts as well and none is skipped."""
        if value.__class__ is str:
            return self.text(surface, role, param, value)

        def within(name: Any, inner: Any) -> Any:
            here = f"{param}[{name}]" if name.__class__ is int else f"{param}.{name}"
            return self.strings(surface, role, here, inner, skip, with_keys=with_keys)

        if value.__class__ is list:
            return change_list(value, within)
        if value.__class__ is dict:
            changed = change_fields(value, within, frozenset() if with_keys else skip)
            return self._keys(surface, role, param, changed) if with_keys else changed
        return value

    def _keys(self, surface: str, role: str, param: str, value: Json) -> Json:
        changed = {key: self.text(surface, role, param, key) for key in value}
        if all(key == other for key, other in changed.items()):
            return value
        return {changed[key]: inner for key, inner in value.items()}

    def changes_sealed(self, param: str, sealed: Any) -> bool:
        """Visit what we sealed, which hides nothing, and return whether any of it is changed. Its maker would
        refuse that."""
        found = envelope.unpack(sealed) if isinstance(sealed, str) else None
        if found is None:
            return False
        said = _readable(found.payload)
        visited = self.strings("reasoning", "assistant", param, said, with_keys=True)
        return bool(visited != said)

    def role(self, role: Any, param: str) -> None:
        self._roles.append((str(role), param))

    def tool(self, kind: Any, name: Any, server: Any, param: str) -> None:
        kind, name, server = (one if isinstance(one, str) else "" for one in (kind, name, server))
        self._tools.append(DefinedTool(kind, name, server, param))

    def opaque(self, kind: Any, of: Any, param: str) -> None:
        self._opaque.append(UnreadableContent(kind, str(of), param))

    def image(self, role: str, param: str, url: Any) -> Any:
        """Visit an image, which cannot be read: its address may be a text, and so may what says it is one."""
        self._images += 1
        self.opaque("image", "image", param)
        if isinstance(url, str) and url[:5].lower() == "data:":
            changed = self._inline(role, param, url)
            return url if changed is None else changed
        return self.text("image_url", role, param, url)

    def file(self, role: str, param: str, part: Json) -> Json:
        """Visit a file: its name, its address, and its text where it is one."""
        self._files += 1

        def within(name: str, value: Any) -> Any:
            here = f"{param}.{name}"
            if name == "file_data":
                return self._file_data(role, here, value)
            if name in {"file_url", "file_id"}:
                self.opaque("file", name, here)
            return self.strings("file_name", role, here, value)

        return change_fields(part, within, NO_TEXT - {"file_id"})

    def _file_data(self, role: str, param: str, data: Any) -> Any:
        changed = self._inline(role, param, data) if isinstance(data, str) else None
        if changed is None:
            self.opaque("file", "file_data", param)
            return data
        return changed

    def _inline(self, role: str, param: str, data: str) -> str | None:
        """Visit inline content; None if it is no text. What is no base64, although it should be, is one."""
        found, is_sound = inline_data.text_in(data), inline_data.is_sound(data)
        said = "" if found is None else str(self.text("file", role, param, found.text))
        written = data if is_sound else str(self.text("file", role, param, data))
        if found is not None and said != found.text:
            return found.with_text(said)
        return None if found is None and is_sound else written


def read(walk: Callable[[Json, Visitor], Json], body: Json) -> RequestContents:
    """Return what a body holds, as its door walks through it."""
    visitor = Visitor()
    walk(body, visitor)
    return visitor.contents


def write(walk: Callable[[Json, Visitor], Json], body: Json, texts: tuple[str, ...]) -> Json:
    """Return a body with other texts, given in the order in which they were read."""
    return walk(body, Visitor(iter(texts)))


def change_fields(
    value: Json, change: Callable[[str, Any], Any], skip: frozenset[str] = frozenset()
) -> Json:
    """Lead the fields of an object through a function, except ids and words in those to skip; what is not
    changed is not copied."""
    changed = {
        name: new
        for name, inner in value.items()
        if (name not in skip or inner.__class__ in _CONTAINERS or _is_free(name, inner))
        and (new := change(name, inner)) is not inner
    }
    return {**value, **changed} if changed else value


def change_list(values: list[Any], change: Callable[[int, Any], Any]) -> list[Any]:
    """Lead the entries of a list through a function; what is not changed is not copied."""
    changed = [change(position, inner) for position, inner in enumerate(values)]
    same = all(new is old for new, old in zip(changed, values, strict=True))
    return values if same else changed


def _readable(payload: Any) -> Any:
    """Return what a vendor wants back without what only the vendor can read."""
    if isinstance(payload, str):
        return "" if inline_data.is_base64(payload) else payload
    if isinstance(payload, list):
        return [_readable(inner) for inner in payload]
    if isinstance(payload, dict):
        return {
            name: inner if isinstance(inner, str) and name not in _SEALS else _readable(inner)
            for name, inner in payload.items()
        }
    return payload


def _is_free(name: str, value: Any) -> bool:
    """Tell whether the value of a field that holds no text of anybody is one nevertheless."""
    if value.__class__ is not str or value in _WORDS or name in _NAMES:
        return False
    if name in _UNREADABLE:
        return not (envelope.is_ours(value) or inline_data.is_base64(value))
    return not (name.endswith("id") and _ID.fullmatch(value))
