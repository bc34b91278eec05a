"""Make what stands for a compacted conversation: towards the client, and towards the model."""

from __future__ import annotations

from gateway_project.lib import ids
from gateway_project.lib.json import Json
from responses_api.compaction import sealed
from responses_api.stream.response import usage_report
from routing.protocols.shared.conversation import kind_of, parts
from tenants.token_classes import Usage


def compaction_object(
    compaction_id: str, created_at: int, items: list[Json], item: Json, usage: Json | None
) -> Json:
    """Make the answer of `POST /responses/compact`: the user messages of the items (still sealed) as they
    were, then the compaction item. Usage may not be missing (docs/wire.md 6.5); zeros mean there was none."""
    return {
        "id": compaction_id,
        "object": "response.compaction",
        "created_at": created_at,
        "output": [*map(_show, filter(_is_users, items)), item],
        "usage": usage or usage_report(Usage()),
    }


def resume_from(canonical: Json, summary: str) -> Json:
    """Make the request to go on with once its input was compacted in passing (`context_management`).

    The newest words of the user are kept: they may ask what is answered now. Of what came after them the
    summary tells how far it got.
    """
    items: list[Json] = canonical["input"]
    kept = [item for item in items if sealed.stays(item)]
    return {**canonical, "input": [*kept, *_newest_words(items), sealed.message(summary)]}


def _newest_words(items: list[Json]) -> list[Json]:
    words: list[Json] = []
    for item in reversed(items):
        if _is_users(item):
            words.append(item)
        elif words and not sealed.stays(item):
            break
    return words[::-1]


def _is_users(item: Json) -> bool:
    return kind_of(item) == "message" and item.get("role") == "user"


def _show(message: Json) -> Json:
    """Give a user's message everything an output item must have."""
    return {
        **message,
        "id": message.get("id") or ids.item_id("msg"),
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": list(map(_part, parts(message.get("content")))),
    }


def _part(part: Json) -> Json:
    return {"detail": "auto", **part} if part.get("type") == "input_image" else part
