"""Store the answer of one call. An exchange only knows whether it has a store."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from django.db import Error

from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.json import Json
from gateway_project.lib.writer import Writer
from responses_api.storage.records import CompletionRecord, ResponseRecord, StoreSpec
from routing.protocols.shared.envelope import Maker

logger = logging.getLogger("tollgate.storage")


# A database that hangs must not hold a finished answer back for longer than this.
STORE_SECONDS = 10.0


class AnswerStore(Protocol):
    """Stores the answer of one call; made before the call is sent."""

    async def save(self, answer: Json, maker: Maker, closing: bytes) -> None:
        """Store the finished answer, then return; `closing` is the rest that the client is still to be sent.

        Raise StoreUnavailable: the answer will not be found again.
        """


class ResponseStore:
    """Stores a Response with its items."""

    __slots__ = ("_writer", "store_spec")

    def __init__(self, writer: Writer, store_spec: StoreSpec) -> None:
        self._writer = writer
        self.store_spec = store_spec

    async def save(self, answer: Json, maker: Maker, closing: bytes) -> None:
        await write(self._writer, ResponseRecord(self.store_spec, answer, maker))


class CompletionStore:
    """Stores a chat completion with the messages it answered."""

    __slots__ = ("_body", "_key_public_id", "_retention_days", "_tenant_id", "_writer")

    def __init__(
        self, writer: Writer, tenant_id: int, key_public_id: str, retention_days: int, body: Json
    ) -> None:
        self._writer = writer
        self._tenant_id = tenant_id
        self._key_public_id = key_public_id
        self._retention_days = retention_days
        self._body = body

    async def save(self, answer: Json, maker: Maker, closing: bytes) -> None:
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
    """Write a record and return its result. Raise StoreUnavailable whatever prevents it."""
    try:
        async with asyncio.timeout(STORE_SECONDS):
            return await writer.write(record)
    except TimeoutError as error:
        raise StoreUnavailable("the database did not answer in time") from error
    except Error as error:
        logger.exception("the database refused a record")
        raise StoreUnavailable(type(error).__name__) from error
