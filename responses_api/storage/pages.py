"""Pages of stored things, as OpenAI's lists; the stored JSON goes out without being parsed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from django.db.models import QuerySet, Subquery

from gateway_project.lib.errors import NotFound
from responses_api.query import Paging, unknown_cursor
from responses_api.storage.items import is_usable_id
from responses_api.storage.pieces import (
    LARGE_BYTES,
    Pieces,
    Segment,
    Stored,
    joined,
    segment,
    with_sizes,
)


def items_page(
    owner: QuerySet[Any], items: QuerySet[Any], paging: Paging, not_found: NotFound
) -> Pieces:
    """A page of `items`, rows with a position, of the one row in `owner`; two queries.

    Raises `not_found` when there is no owner, BadRequest for an unknown cursor.
    """
    order = "position" if paging.ascending else "-position"
    position = _position(owner, items, paging, not_found)
    if position is not None:
        items = items.filter(**{f"position__{_beyond(paging)}": position})
    sized = with_sizes(items, "body", inline_bytes(paging)).order_by(order)
    rows = sized.values_list("item_id", "tenant_id", "pk", "size", "inline")[: paging.limit + 1]
    return listed(
        [
            (item_id, [segment(Stored(items.model, tenant_id, pk, "body", size), inline)])
            for item_id, tenant_id, pk, size, inline in rows
        ],
        paging,
    )


def inline_bytes(paging: Paging) -> int:
    """Entries up to this size are read with the list: together they are no large answer."""
    return LARGE_BYTES // (paging.limit + 1)


def listed(entries: Iterable[tuple[str, Iterable[Segment]]], paging: Paging) -> Pieces:
    """A list of (id, JSON); one more than the limit says that there are more."""
    found = list(entries)
    shown = found[: paging.limit]
    rest = {
        "first_id": shown[0][0] if shown else None,
        "last_id": shown[-1][0] if shown else None,
        "has_more": len(found) > len(shown),
    }
    data = joined(body for _, body in shown)
    return Pieces([b'{"object":"list","data":[', *data, b"]," + orjson.dumps(rest)[1:]])


def _position(
    owner: QuerySet[Any], items: QuerySet[Any], paging: Paging, not_found: NotFound
) -> int | None:
    """Where the item with the cursor's id is. Of several with one id it is the last in the direction
    of reading, so that a client that reads page by page comes to the end."""
    cursor = items.none()
    if is_usable_id(paging.after):
        cursor = items.filter(item_id=paging.after)
    cursor = cursor.order_by("-position" if paging.ascending else "position")
    found = list(
        owner.annotate(cursor=Subquery(cursor.values("position")[:1])).values_list(
            "cursor", flat=True
        )
    )
    if not found:
        raise not_found
    position: int | None = found[0]
    if paging.after and position is None:
        raise unknown_cursor()
    return position


def _beyond(paging: Paging) -> str:
    return "gt" if paging.ascending else "lt"
