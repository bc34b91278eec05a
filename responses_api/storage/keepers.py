"""How the answer of one call is kept. An exchange only knows that it has a keeper, or none."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from django.db import Error

from gateway_project.lib.cache import StoreUnavailable
from responses_api.storage.records import CompletionRecord, Keeping, ResponseRecord
from responses_api.storage.writer import Writer

logger = logging.getLogger("tollgate.storage")

Json = dict[str, Any]

# A database that hangs must not hold a finished answer back for longer than this.
STORE_SECONDS = 10.0


class Keeper(Protocol):
    """Made for one call, before it is sent."""

    async def keep(self, answer: Json, provider: str, closing: bytes) -> None:
        """Returns once the finished answer is stored; `closing` is what is left to tell the client, to the
        end.

        Raises StoreUnavailable: the answer will not be found again.
        """


class ResponseKeeper:
    """Keeps a Response with its items."""

    __slots__ = ("_writer", "keeping")

    def __init__(self, writer: Writer, keeping: Keeping) -> None:
        self._writer = writer
        self.keeping = keeping

    async def keep(self, answer: Json, provider: str, closing: bytes) -> None:
        await write(self._writer, ResponseRecord(self.keeping, answer, provider))


class CompletionKeeper:
    """Keeps a chat completion with the messages it answered."""

    __slots__ = ("_body", "_key_public_id", "_retention_days", "_tenant_id", "_writer")

    def __init__(
        self, writer: Writer, tenant_id: int, key_public_id: str, retention_days: int, body: Json
    ) -> None:
        self._writer = writer
        self._tenant_id = tenant_id
        self._key_public_id = key_public_id
        self._retention_days = retention_days
        self._body = body

    async def keep(self, answer: Json, provider: str, closing: bytes) -> None:
        metadata = self._body.get("metadata") or {}
        record = CompletionRecord(
            tenant_id=self._tenant_id,
            key_public_id=self._key_public_id,
            retention_days=self._retention_days,
            completion=answer,
            messages=self._body["messages"],
            metadata=metadata,
        )
        await write(self._writer, record)


async def write(writer: Writer, record: Any) -> Any:
    """A record's result. Whatever prevents it from being written is StoreUnavailable to the caller."""
    try:
        async with asyncio.timeout(STORE_SECONDS):
            return await writer.write(record)
    except TimeoutError as error:
        raise StoreUnavailable("the database did not answer in time") from error
    except Error as error:
        logger.exception("a record was refused by the database")
        raise StoreUnavailable(type(error).__name__) from error
