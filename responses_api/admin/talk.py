"""Show stored items as a conversation: text as text, tools folded, nothing that a browser would fetch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from django.db.models import QuerySet
from django.db.models.functions import Length, Substr
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from gateway_project.lib.json import Json
from responses_api.reports.first_words import text_of_part

MAX_ITEMS = 100
# Larger items are not read whole; of their text, and of their JSON, so much is shown.
MAX_READ, MAX_SHOWN = 64_000, 10_000

SPEAKERS: dict[str, str | Promise] = {
    "user": gettext_lazy("User"),
    "assistant": gettext_lazy("Assistant"),
    "system": gettext_lazy("System"),
    "developer": gettext_lazy("Developer"),
}
KINDS: dict[str, str | Promise] = {
    "function_call": gettext_lazy("Tool call"),
    "custom_tool_call": gettext_lazy("Tool call"),
    "function_call_output": gettext_lazy("Tool result"),
    "custom_tool_call_output": gettext_lazy("Tool result"),
    "reasoning": gettext_lazy("Reasoning"),
    "compaction": gettext_lazy("Summary of what came before"),
}
_TEXTS = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})


@dataclass(frozen=True, slots=True)
class ShownItem:
    """An item for people. `tone` is who speaks, `is_folded` that its text is opened by a click."""

    speaker: str | Promise
    tone: str
    text: str
    is_folded: bool
    raw: str


@dataclass(frozen=True, slots=True)
class ShownTalk:
    """The first items; `has_more`: there are others."""

    items: tuple[ShownItem, ...]
    has_more: bool


def talk_of(rows: QuerySet[Any]) -> ShownTalk:
    """Return the first of these items, in their order, reading no more of each than is shown."""
    read = rows.annotate(size=Length("body"), begins=Substr("body", 1, MAX_READ))
    found = list(read.values_list("begins", "size")[: MAX_ITEMS + 1])
    shown = tuple(shown_item(bytes(body), size) for body, size in found[:MAX_ITEMS])
    return ShownTalk(shown, len(found) > MAX_ITEMS)


def shown_item(body: bytes, size: int) -> ShownItem:
    """Return an item of so many bytes, of which `body` is the beginning or the whole."""
    item = _parsed(body) if size <= MAX_READ else None
    if item is None:
        text = body.decode(errors="replace")
        named = _("Large item") if size > MAX_READ else _("Item")
        return ShownItem(named, "other", _cut(text_of_part(text)), False, _cut(text, size))
    raw = _cut(orjson.dumps(item, option=orjson.OPT_INDENT_2).decode())
    kind = str(item.get("type") or "message")
    if kind == "message" or "role" in item:
        role = str(item.get("role", ""))
        tone = role if role in SPEAKERS else "other"
        speaker = SPEAKERS.get(role, role or _("Item"))
        return ShownItem(speaker, tone, _cut(_content(item.get("content"))), False, raw)
    return ShownItem(KINDS.get(kind, kind), "tool", _cut(_of_tool(item)), True, raw)


def _parsed(body: bytes) -> Json | None:
    try:
        item = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return item if isinstance(item, dict) else None


def _of_tool(item: Json) -> str:
    """Return what was asked of a tool, what it gave back, or what was thought."""
    called = item.get("arguments", item.get("input"))
    if called is not None:
        name = item.get("name", "")
        return f"{name}({_content(called)})" if name else _content(called)
    parts = (item.get("output"), item.get("summary"), item.get("content"))
    return "\n".join(text for part in parts if (text := _content(part)))


def _content(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(_part(part) for part in content)
    return orjson.dumps(content).decode()


def _part(part: Any) -> str:
    if not isinstance(part, dict):
        return str(part)
    kind = str(part.get("type", ""))
    if kind in _TEXTS:
        return str(part.get("text", ""))
    if kind == "refusal":
        return str(part.get("refusal", ""))
    # An image or a file is named, never fetched: its address may tell somebody that it was looked at.
    name = part.get("filename") or part.get("file_id") or ""
    return _("[%(kind)s %(name)s: not shown]") % {"kind": kind or "?", "name": name}


def _cut(text: str, size: int = 0) -> str:
    whole = max(size, len(text))
    if len(text) <= MAX_SHOWN and whole == len(text):
        return text
    left = whole - min(len(text), MAX_SHOWN)
    more = ngettext("%(count)s more character", "%(count)s more characters", left)
    return f"{text[:MAX_SHOWN]}\n… {more % {'count': f'{left:,}'}}"
