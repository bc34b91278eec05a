"""Load what a call continues from: the chain behind a response, a conversation, single items by reference.

Always one query, scoped by tenant at every step, however long the chain.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import orjson
from django.conf import settings
from django.db import connection
from msgspec import Struct

from gateway_project.lib import structure
from gateway_project.lib.errors import RequestTooComplex
from gateway_project.lib.json import Json
from gateway_project.lib.structure import TooMuchStructure
from responses_api.compaction import sealed as compaction
from responses_api.compaction.request import TRIGGER
from responses_api.models import Conversation, Status
from responses_api.storage import reading
from responses_api.storage.id_shapes import is_row_id
from responses_api.storage.records import INPUT
from routing.protocols import responses
from routing.protocols.shared import envelope
from routing.protocols.shared.conversation import kind_of
from routing.protocols.shared.envelope import NOBODY, Maker

# An item that we sealed says itself who may open it.
_OURS = (envelope.PREFIX, compaction.PREFIX)
_CONTINUABLE = frozenset({Status.COMPLETED.value, Status.INCOMPLETE.value})

# Parents first: depth counts from the newest response back.
_CHAIN = """
WITH RECURSIVE chain (id, parent_id, root_id, conversation_id, until, status, provider, account,
    depth) AS (
    SELECT id, parent_id, root_id, conversation_id, conversation_until, status, provider,
        account, 0
    FROM responses_api_storedresponse WHERE tenant_id = %s AND id = %s
    UNION ALL
    SELECT r.id, r.parent_id, r.root_id, r.conversation_id, r.conversation_until, r.status,
        r.provider, r.account, chain.depth + 1
    FROM responses_api_storedresponse r JOIN chain ON r.id = chain.parent_id
    WHERE r.tenant_id = %s
)
SELECT chain.parent_id, chain.root_id, chain.conversation_id, chain.until, chain.status,
    SUM(LENGTH(item.body)) OVER (), chain.provider, chain.account, item.side,
    CASE WHEN SUM(LENGTH(item.body)) OVER () <= %s THEN item.body END
FROM chain LEFT JOIN responses_api_storeditem item
    ON item.response_id = chain.id AND item.tenant_id = %s
ORDER BY chain.depth DESC, item.side, item.position
"""


class Chain(Struct, frozen=True):
    """Everything that was said up to a response, oldest first.

    `root_id` is the response it began with; empty if none of it is stored. `size` is in bytes. For a
    conversation, `until` is the position after its last item.
    """

    root_id: str
    items: list[Json]
    size: int = 0
    until: int = 0


class NotContinuable(Exception):
    """The response exists, but its `status` says that nothing can continue from it (yet)."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


def load(tenant_id: int, response_id: str) -> Chain | None:
    """Return the chain that ends with this response of the tenant; None if it, or a response it builds on,
    does not exist (any more). Raise NotContinuable or RequestTooComplex."""
    if not is_row_id(response_id):
        return None
    with connection.cursor() as cursor:
        most = settings.MAX_HISTORY_BYTES  # if the history is larger, no body is read
        cursor.execute(_CHAIN, (tenant_id, response_id, tenant_id, most, tenant_id))
        rows = cursor.fetchall()
    if not rows or rows[0][0]:  # nothing, or the oldest we have still names a parent
        return None
    _, root_id, _, _, status, total, *_ = rows[-1]
    if status not in _CONTINUABLE:
        raise NotContinuable(status)
    size = int(total or 0)
    check_history(size, (row[-1] for row in rows), "previous_response_id")
    items = [
        mark_for_maker(orjson.loads(body), Maker(provider, account) if side != INPUT else NOBODY)
        for *_, provider, account, side, body in rows
        if body is not None
    ]
    _, _, conversation_id, until, *_ = rows[0]
    if not (conversation_id and until):
        return Chain(root_id, items, size)
    # The chain began in a conversation: what that held then comes first.
    before = conversation(tenant_id, conversation_id, until)
    if before is not None:
        check_history(before.size + size, (), "previous_response_id")
    return before and Chain(root_id, before.items + items, before.size + size)


def check_history(size: int, bodies: Iterable[bytes | memoryview | None], param: str) -> None:
    """Raise RequestTooComplex for a history that is too large, or whose JSON would make too many objects."""
    if size > settings.MAX_HISTORY_BYTES:
        raise RequestTooComplex("history", settings.MAX_HISTORY_BYTES, param=param)
    if size <= settings.CAPS.values:
        return
    try:
        structure.check(settings.CAPS, *(bytes(body) for body in bodies if body is not None))
    except TooMuchStructure as error:
        raise RequestTooComplex(error.cap, error.most, of="history", param=param) from None


def conversation(tenant_id: int, conversation_id: str, until: int | None = None) -> Chain | None:
    """Return what was said in a conversation of the tenant, up to a position; None if it does not exist. A
    request to compact that a client put there is no part of it: only the turn that ends with one obeys it."""
    if not is_row_id(conversation_id):
        return None
    found = Conversation.objects.filter(tenant_id=tenant_id, id=conversation_id)
    rows = list(
        reading.within(found, "items__body", settings.MAX_HISTORY_BYTES)
        .order_by("items__position")
        .values_list("items__position", "items__provider", "items__account", "within", "total")
    )
    if not rows:
        return None
    check_history(int(rows[0][-1] or 0), (body for *_, body, _ in rows), "conversation")
    said = [
        (position, mark_for_maker(orjson.loads(body), Maker(provider, account)), len(body))
        for position, provider, account, body, _ in rows
        if body is not None and (until is None or position < until)
    ]
    return Chain(
        root_id="",
        items=[item for _, item, _ in said if kind_of(item) != TRIGGER],
        size=sum(size for *_, size in said),
        until=said[-1][0] + 1 if said else 0,
    )


def load_referenced(tenant_id: int, item_ids: Collection[str]) -> dict[str, Json]:
    """Return the tenant's items with these ids, for another turn. Raise RequestTooComplex, also if one
    item is named so often that the whole gets too large."""
    found = reading.find_items(tenant_id, item_ids)
    named = [found[item_id].body for item_id in item_ids if item_id in found]
    check_history(sum(map(len, named)), named, "input")
    return {n: mark_for_maker(orjson.loads(kept.body), kept.maker) for n, kept in found.items()}


def mark_for_maker(item: Json, maker: Maker) -> Json:
    """Prepare an item for another turn. An item that only its maker understands is marked with the maker's
    name and account, so that it is never sent to another (docs/wire.md, pitfall 24); so is reasoning
    without a payload, whose id means nothing to others."""
    if not maker.provider or kind_of(item) not in {"reasoning", "compaction"}:
        return item
    sealed = item.get("encrypted_content")
    if isinstance(sealed, str) and sealed.startswith(_OURS):
        return item
    packed = envelope.pack(responses.PROTOCOL.name, maker.provider, sealed, maker.account)
    return {**item, "encrypted_content": packed}
