"""Remove responses and conversations with everything stored of them.

Their items, runs and events are tied to them by id only (`db_constraint=False`), so nothing but these
functions deletes them too. They never load a body, and run in the caller's transaction. They trust the ids:
the caller has found them within a tenant.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from responses_api.models import (
    Conversation,
    ConversationItem,
    EventChunk,
    Run,
    StoredItem,
    StoredResponse,
)


@dataclass(frozen=True, slots=True)
class Removed:
    """Counts of removed rows by kind."""

    responses: int
    items: int
    runs: int
    event_chunks: int


def remove_responses(ids: Collection[str]) -> Removed:
    return Removed(
        items=delete_rows(StoredItem.objects.filter(response_id__in=ids)),
        event_chunks=delete_rows(EventChunk.objects.filter(run_id__in=ids)),
        runs=delete_rows(Run.objects.filter(response_id__in=ids)),
        responses=delete_rows(StoredResponse.objects.filter(pk__in=ids)),
    )


def remove_conversations(ids: Collection[str]) -> int:
    """Remove conversations. Responses of a conversation stay, as do their own copies of its items."""
    delete_rows(ConversationItem.objects.filter(conversation_id__in=ids))
    return delete_rows(Conversation.objects.filter(pk__in=ids))


def delete_rows(rows: QuerySet[Any]) -> int:
    """Delete rows that nothing else depends on, in one DELETE; return how many there were."""
    return rows._raw_delete(rows.db) or 0  # None when the ids are none
