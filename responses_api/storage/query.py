"""Read the query of the routes that read: paging, `include`, filters (docs/wire.md 6.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from django.http import QueryDict

from gateway_project.lib.errors import BadRequest
from responses_api.doors.metadata import check_metadata

Order = Literal["asc", "desc"]

DEFAULT_LIMIT = 20
MAX_LIMIT = 100
# Fields a client may ask for besides the usual ones. Here nothing that is stored is ever left out, so
# that they only have to be known (docs/wire.md 3.8).
INCLUDABLE = frozenset(
    {
        "code_interpreter_call.outputs",
        "computer_call_output.output.image_url",
        "file_search_call.results",
        "message.input_image.image_url",
        "message.output_text.logprobs",
        "reasoning.encrypted_content",
        "web_search_call.action.sources",
        "web_search_call.results",
    }
)


@dataclass(frozen=True, slots=True)
class Paging:
    """A page: at most `limit` entries after the one with the id `after`; empty: from the start."""

    after: str
    limit: int
    ascending: bool


def paging(query: QueryDict, default: Order) -> Paging:
    """Read the paging parameters. Raise BadRequest naming the parameter."""
    order = query.get("order", default)
    if order not in {"asc", "desc"}:
        raise BadRequest(
            f"Invalid value for 'order': {order[:100]!r}; use 'asc' or 'desc'.", param="order"
        )
    return Paging(query.get("after", ""), _limit(query), order == "asc")


def unknown_cursor() -> BadRequest:
    """Return the same error for any cursor that is not in the list, whoever owns it."""
    return BadRequest(
        "Invalid value for 'after': no entry of this list has this id.", param="after"
    )


def check_include(query: QueryDict) -> None:
    """Raise BadRequest naming the unknown value."""
    for value in (*query.getlist("include[]"), *query.getlist("include")):
        if value not in INCLUDABLE:
            known = ", ".join(sorted(INCLUDABLE))
            raise BadRequest(
                f"Invalid value for 'include': {value[:100]!r}; known are {known}.", param="include"
            )


def metadata(query: QueryDict) -> dict[str, str]:
    """Return the pairs that are asked for as `metadata[key]=value`. Raise BadRequest."""
    pairs: dict[str, str] = {}
    for name, value in query.items():
        if match := re.fullmatch(r"metadata\[(.*)\]", name, re.DOTALL):
            pairs[match.group(1)] = str(value)
    check_metadata(pairs)
    return pairs


def _limit(query: QueryDict) -> int:
    given = query.get("limit", str(DEFAULT_LIMIT))
    limit = int(given) if re.fullmatch(r"[0-9]{1,4}", given) else 0
    if not 1 <= limit <= MAX_LIMIT:
        raise BadRequest(
            f"Invalid value for 'limit': {given[:100]!r}; use a number from 1 to {MAX_LIMIT}.",
            param="limit",
        )
    return limit
