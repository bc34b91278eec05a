"""Say in short what an event of the audit log changed."""

from __future__ import annotations

import json
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from tenants.models import AuditEvent

MOST_SHOWN, CLIPPED = 3, 30  # changes in a list, characters of a value


def changes_in_short(event: AuditEvent) -> SafeString:
    """Return the first changes of an event, before and after; the event's page has all of them."""
    changes = list(read(event.changes).items())
    if len(changes) > MOST_SHOWN:
        names = ", ".join(name for name, _change in changes)
        return format_html('<span class="tg-wrap">{}</span>', clipped(names, 4 * CLIPPED))
    lines = [(name, _brief(before), _brief(after)) for name, (before, after) in changes]
    return format_html_join(
        "", '<span class="tg-wrap"><b>{}</b> {} → {}</span>', lines
    ) or SafeString("")


def details_in_short(event: AuditEvent) -> SafeString:
    """Return what else an event says, short."""
    lines = [(name, _brief(value)) for name, value in read(event.details).items()]
    return format_html_join("", '<span class="tg-wrap"><b>{}</b> {}</span>', lines[:MOST_SHOWN])


def read(written: str) -> dict[str, Any]:
    """Return what an event keeps as JSON."""
    found: dict[str, Any] = json.loads(written)
    return found


def clipped(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _brief(value: Any) -> str:
    if value is None:
        return "∅"
    return clipped(value if isinstance(value, str) else json.dumps(value), CLIPPED)
