"""Tell by its shape whether a text can be an id, so that the database is not asked for anything else."""

from __future__ import annotations

import re
from typing import Annotated, Any

from msgspec import Meta

# The lengths of the columns.
MAX_ROW_ID = 64
MAX_ITEM_ID = 200

# PostgreSQL refuses a NUL in a text.
ItemId = Annotated[str, Meta(min_length=1, max_length=MAX_ITEM_ID, pattern=r"\A[^\0]*\Z")]

_RESPONSE_ID = re.compile(r"resp_[A-Za-z0-9_-]{1,59}")
_CONVERSATION_ID = re.compile(r"conv_[A-Za-z0-9_-]{1,59}")
_COMPLETION_ID = re.compile(r"chatcmpl-[A-Za-z0-9_-]{1,55}")


def is_response_id(text: str) -> bool:
    return _RESPONSE_ID.fullmatch(text) is not None


def is_conversation_id(text: str) -> bool:
    return _CONVERSATION_ID.fullmatch(text) is not None


def is_completion_id(text: str) -> bool:
    return _COMPLETION_ID.fullmatch(text) is not None


def is_row_id(text: str) -> bool:
    """Return whether this can be the id of a response or a conversation, however it is spelled."""
    return 0 < len(text) <= MAX_ROW_ID and "\0" not in text


def is_item_id(value: Any) -> bool:
    """Return whether an item can be stored and found again by this id, whoever made it."""
    return isinstance(value, str) and 0 < len(value) <= MAX_ITEM_ID and "\0" not in value
