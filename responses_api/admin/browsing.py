"""How stored bodies are shown to people on the console's pages."""

from __future__ import annotations

from typing import Any

import orjson
from django.db.models import QuerySet
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

Body = bytes | memoryview

MAX_BODY = 100_000
MAX_ITEMS = 100
MAX_ITEM = 10_000


def shown(body: Body, limit: int = MAX_BODY) -> SafeString:
    """JSON for people, as far as a page can hold it."""
    try:
        text = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        text = bytes(body).decode(errors="replace")
    if len(text) > limit:
        text = f"{text[:limit]}\n… {len(text) - limit} more characters"
    return format_html("<pre>{}</pre>", text)


def items_shown(bodies: QuerySet[Any, Body]) -> SafeString:
    """The first items, one below the other."""
    first = [(shown(body, MAX_ITEM),) for body in bodies[: MAX_ITEMS + 1]]
    told = format_html_join("", "{}", first[:MAX_ITEMS])
    return told if len(first) <= MAX_ITEMS else format_html("{}<p>… and more items</p>", told)
