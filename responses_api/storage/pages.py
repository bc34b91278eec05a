"""Build pages of stored things, as OpenAI's lists; the stored JSON is sent without being parsed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from django.db.models import QuerySet, Subquery

from gateway_project.lib.errors import NotFound
from responses_api.storage.id_shapes import is_item_id
from responses_api.storage.pieces import (
    LARGE_BYTES,
    Pieces,
    Segment,
    Stored,
    join_lists,
    segment,
    with_sizes,
)
from responses_api.storage.query import Paging, unknown_cursor


def items_page(
    owner: QuerySet[Any], items: QuerySet[Any], paging: Paging, not_found: NotFound
) -> Pieces:
    """Return a page of `items`, rows with a position, of the one row in `owner`; two queries.

    Raise `not_found` if there is no owner, BadRequest for an unknown cursor.
    """
    order = "position" if paging.ascending else "-position"
    position = _position(owner, items, paging, not_found)
    if position is not None:
        items = items.filter(**{f"position__{_beyond(paging)}": position})
    sized = with_sizes(items, "body", inline_bytes(paging)).order_by(order)
    rows = sized.values_list("item_id", "tenant_id", "pk", "size", "inline")[: paging.limit + 1]
    return build_list(
        [
            (item_id, [segment(Stored(items.model, tenant_id, pk, "body", size), inline)])
            for item_id, tenant_id, pk, size, inline in rows
        ],
        paging,
    )


def inline_bytes(paging: Paging) -> int:
    """Return the size up to which entries are read with the list: together they make no large answer."""
    return LARGE_BYTES // (paging.limit + 1)


def build_list(entries: Iterable[tuple[str, Iterable[Segment]]], paging: Paging) -> Pieces:
    """Build a list from (id, JSON) pairs; one more than the limit means that there are more."""
    found = list(entries)
    shown = found[: paging.limit]
    rest = {
        "first_id": shown[0][0] if shown else None,
        "last_id": shown[-1][0] if shown else None,
        "has_more": len(found) > len(shown),
    }
    data = join_lists(body for _, body in shown)
    return Pieces([b'{"object":"list","data":[', *data, b"]," + orjson.dumps(rest)[1:]])


def _position(
    owner: QuerySet[Any], items: QuerySet[Any], paging: Paging, not_found: NotFound
) -> int | None:
    """Return the position of the item with the cursor's id. Of several with one id it is the last in the
    direction of reading, so that a client that reads page by page reaches the end."""
    cursor = items.none()
    if is_item_id(paging.after):
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
