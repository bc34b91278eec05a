"""Read every text of a request, and write changed ones back into it.

A door walks through its body with a visitor, which is asked for each text and answers with the text that
takes its place. Reading and writing are the same walk, so that no text can be read and not be written.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from typing import Any

from gateway_project.lib.json import Json
from responses_api.guardrails import json_text
from responses_api.guardrails.spec import (
    DefinedTool,
    RequestContents,
    RequestSegment,
    UnreadableContent,
)

# Fields that hold an id, a word of the protocol, or what only its maker can read.
NO_TEXT = frozenset(
    {
        "type", "id", "call_id", "item_id", "status", "role", "phase", "detail", "encrypted_content",
        "container_id", "file_id", "response_id", "tool_call_id", "approval_request_id", "model",
    }
)  # fmt: skip
_TEXTUAL = ("text/", "application/json", "application/xml", "application/yaml", "application/x-")
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

    def role(self, role: Any, param: str) -> None:
        self._roles.append((str(role), param))

    def tool(self, kind: Any, name: Any, server: Any, param: str) -> None:
        kind, name, server = (one if isinstance(one, str) else "" for one in (kind, name, server))
        self._tools.append(DefinedTool(kind, name, server, param))

    def opaque(self, kind: Any, of: Any, param: str) -> None:
        self._opaque.append(UnreadableContent(kind, str(of), param))

    def image(self, role: str, param: str, url: Any) -> Any:
        """Visit an image: its address may be a text, the image itself cannot be read."""
        self._images += 1
        self.opaque("image", "image", param)
        is_inline = isinstance(url, str) and url[:5].lower() == "data:"
        return url if is_inline else self.text("image_url", role, param, url)

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
        opened = _open_text(data) if isinstance(data, str) else None
        if opened is None:
            self.opaque("file", "file_data", param)
            return data
        head, text = opened
        changed = self.text("file", role, param, text)
        return data if changed == text else head + base64.b64encode(changed.encode()).decode()


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
    """Lead the fields of an object through a function, except texts in those to skip; what is not changed is
    not copied."""
    changed = {
        name: new
        for name, inner in value.items()
        if (name not in skip or inner.__class__ in _CONTAINERS)
        and (new := change(name, inner)) is not inner
    }
    return {**value, **changed} if changed else value


def change_list(values: list[Any], change: Callable[[int, Any], Any]) -> list[Any]:
    """Lead the entries of a list through a function; what is not changed is not copied."""
    changed = [change(position, inner) for position, inner in enumerate(values)]
    same = all(new is old for new, old in zip(changed, values, strict=True))
    return values if same else changed


def _open_text(data: str) -> tuple[str, str] | None:
    """Return how inline data begins, and its text; None if it is no text."""
    head, comma, payload = data.partition(",")
    if comma and not (head[5:].startswith(_TEXTUAL) and head.endswith(";base64")):
        return None
    if not comma:
        head, payload = "", data
    try:
        text = base64.b64decode(payload, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return None if "\x00" in text else (head + comma, text)
