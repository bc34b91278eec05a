"""Tell how stored talks begin: the first words that a person said, and how many items there are.

Bodies are as large as what was sent, so that only the beginning of a few of them is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from django.db.models import Count, QuerySet
from django.db.models.functions import Substr

from responses_api.models import ConversationItem, StoredItem

# Instructions and context often come before what a person said.
FIRST_ITEMS = 4
READ_BYTES = 2_000
MAX_WORDS = 120
_TEXT = re.compile(r'"(?:text|content|output|arguments)"\s*:\s*"((?:[^"\\]|\\.)+)', re.DOTALL)
_OF_PERSON = re.compile(r'"role"\s*:\s*"user"')


@dataclass(frozen=True, slots=True)
class TalkStart:
    """Holds how a talk begins. `words` is blank if it begins without text, or if they were not asked for."""

    words: str = ""
    items: int = 0


def of_responses(
    response_ids: Sequence[str], tenants: Iterable[int], *, with_words: bool
) -> dict[str, TalkStart]:
    """Return the beginnings of responses of these tenants."""
    rows = StoredItem.objects.filter(response_id__in=response_ids, tenant_id__in=set(tenants))
    given = rows.filter(side=StoredItem.Side.INPUT)
    return _starts(rows, given if with_words else None, "response_id")


def of_conversations(
    conversation_ids: Sequence[str], tenants: Iterable[int], *, with_words: bool
) -> dict[str, TalkStart]:
    """Return the beginnings of conversations of these tenants."""
    rows = ConversationItem.objects.filter(
        conversation_id__in=conversation_ids, tenant_id__in=set(tenants)
    )
    return _starts(rows, rows if with_words else None, "conversation_id")


def _starts(rows: QuerySet[Any], said: QuerySet[Any] | None, owner: str) -> dict[str, TalkStart]:
    counted = dict(rows.order_by().values_list(owner).annotate(n=Count("pk")))
    words = {} if said is None else _words(said, owner)
    return {each: TalkStart(words.get(each, ""), number) for each, number in counted.items()}


def _words(said: QuerySet[Any], owner: str) -> dict[str, str]:
    first = said.filter(position__lt=FIRST_ITEMS).order_by("position")
    begins: dict[str, list[str]] = {}
    for owner_id, body in first.values_list(owner, Substr("body", 1, READ_BYTES)):
        begins.setdefault(owner_id, []).append(bytes(body).decode(errors="ignore"))
    return {each: _first(bodies) for each, bodies in begins.items()}


def _first(bodies: Sequence[str]) -> str:
    of_people = [body for body in bodies if _OF_PERSON.search(body)]
    texts = (_text(body) for body in (*of_people, *bodies))
    return next((text for text in texts if text), "")


def _text(body: str) -> str:
    text = " ".join(text_of_part(body).split())
    return f"{text[:MAX_WORDS]}…" if len(text) > MAX_WORDS else text


def text_of_part(body: str) -> str:
    """Return the first text in the beginning of an item's JSON; blank if there is none."""
    found = _TEXT.search(body)
    return "" if found is None else _unescaped(found[1])


def _unescaped(text: str) -> str:
    """Read what stands between quotes in JSON, of which the end may be missing."""
    for cut in range(13):  # the end of a text may be half a pair of surrogates
        try:
            return str(orjson.loads(f'"{text[: len(text) - cut]}"'))
        except orjson.JSONDecodeError:
            continue
    return text
