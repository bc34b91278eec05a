"""Answer questions about the calls of this worker, its own as well as those that come over Redis."""

from __future__ import annotations

import asyncio
import logging
import os

from gateway_project.lib import aio, clock
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.db import in_database_thread
from gateway_project.lib.secret import Secret
from responses_api.background import runs
from responses_api.live.messages import (
    MOST_CALLS,
    LiveQuestion,
    WorkerAnswer,
    WorkerName,
    encode,
    read_question,
)
from responses_api.process.interruption import Interruption
from responses_api.process.registry import Describable, Registry
from responses_api.process.running_call import StoppedCall
from tenants import heartbeats

logger = logging.getLogger("tollgate.live")

CHANNEL = "tollgate:live"
# How long a stopped call is waited for: what a client does not take of its end is given up before that.
END_SECONDS = 1.5
LOOK_SECONDS = 0.01
# Answers that nobody fetched are forgotten by Redis.
FORGET_SECONDS = 10


class LiveAnswers:
    """The answers of one worker. It listens only where there is a Redis, and says nothing unasked."""

    def __init__(self, registry: Registry, redis_url: Secret | None) -> None:
        self._registry = registry
        self._redis_url = redis_url
        self._listening: asyncio.Task[None] | None = None
        self.worker = WorkerName(heartbeats.host_name(), os.getpid())

    def start(self) -> None:
        if self._redis_url is not None:
            from gateway_project.lib import announcements  # noqa: PLC0415  # redis only where it is used

            listening = announcements.listen(self._redis_url, self._hear, CHANNEL)
            self._listening = aio.hold(listening, "live-listen")

    async def stop(self) -> None:
        await aio.end(self._listening)
        self._listening = None

    def _hear(self, data: bytes) -> None:
        if data and (question := read_question(data)) is not None:
            aio.hold(self.reply(question), "live-reply")

    async def reply(self, question: LiveQuestion) -> None:
        """Put the answer to a question where its asker waits for it."""
        from responses_api.live import asking  # noqa: PLC0415  # as above

        assert self._redis_url is not None
        answer = await self.answer(question)
        await asking.reply(self._redis_url, question.reply_to, encode(answer), FORGET_SECONDS)

    async def answer(self, question: LiveQuestion) -> WorkerAnswer:
        """Answer for this worker alone."""
        if question.kind == "stop":
            return WorkerAnswer(self.worker, stopped=await self._stop(question.request_id))
        if question.request_id:
            call = self._registry.find_call(question.request_id)
            found = [] if call is None else [call.describe()]
            return WorkerAnswer(self.worker, len(found), found)
        tenants = None if question.tenants is None else frozenset(question.tenants)
        calls, count = self._registry.describe(tenants, MOST_CALLS)
        return WorkerAnswer(self.worker, count, calls)

    async def _stop(self, request_id: str) -> StoppedCall | None:
        """End the call, if it is running here, and wait until it is settled."""
        call = self._registry.find_call(request_id)
        if call is None:
            return None
        began_at = clock.monotonic()
        await self._interrupt(call)
        while (ended := call.stopped(began_at)) is None:
            if clock.monotonic() - began_at > END_SECONDS:
                logger.warning("a stopped call has not ended yet", extra={"request_id": request_id})
                return None
            await asyncio.sleep(LOOK_SECONDS)
        return ended

    async def _interrupt(self, call: Describable) -> None:
        """Cancel the run of a background call, so that its response says so; interrupt any other."""
        about = call.describe()
        if about.channel == "background":
            try:
                await in_database_thread(runs.cancel, about.tenant_id, about.response_id)
            except StoreUnavailable:
                pass
            else:
                return
        call.interrupt(Interruption.CANCELLED)
