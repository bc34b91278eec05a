"""Move tasks on, a step of each in turn: the periodic job.

A step is read first and written in one short transaction, which also moves the task on and renews the
runner's lease. So a process that is killed leaves no step half done, another goes on where it was once the
lease is over, and a task that somebody cancels writes nothing more.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

from django.db.models import F, Q, QuerySet

from gateway_project.lib import clock, ids
from gateway_project.lib.db import durable_transaction
from tenants.long_work import kinds
from tenants.long_work.kinds import TaskFailed, TaskStep
from tenants.models import LongTask, TaskPiece

logger = logging.getLogger("tollgate.long_work")

State = LongTask.State
LEASE = timedelta(minutes=1)
AFTER_FAILURE = timedelta(seconds=30)
MOST_FAILURES = 5
# For so long a file can be fetched, and it can be read what became of a task.
KEPT = timedelta(days=1)
KEPT_RESULT = timedelta(days=90)
PIECES_AT_ONCE = 20
BROKEN, TOO_LARGE = "broken", "too_large"


def is_any_due() -> bool:
    now = clock.now()
    return LongTask.objects.filter(Q(next_at__lte=now) | Q(expires_at__lte=now)).exists()


def run_tasks() -> Iterator[None]:
    """Take a step of every task that is due until none is, and erase those that were kept long enough."""
    runner = ids.base62(20)
    while due := list(_due(runner).order_by("next_at").values_list("pk", flat=True)):
        for pk in due:
            take_step(pk, runner)
            yield
    yield from erase_expired()


def erase_expired() -> Iterator[None]:
    for task in LongTask.objects.filter(expires_at__lte=clock.now()):
        while erase_pieces(task, PIECES_AT_ONCE) == PIECES_AT_ONCE:
            yield
        task.delete()
        yield


def erase_pieces(task: LongTask, most: int) -> int:
    """Erase some pieces of a task's file, which need not be read for that; return how many."""
    some = TaskPiece.objects.filter(task=task).order_by().values_list("pk", flat=True)[:most]
    return TaskPiece.objects.filter(pk__in=list(some)).delete()[0]


def take_step(pk: UUID, runner: str) -> None:
    """Take one step of a task, if this runner gets it or has it."""
    now = clock.now()
    claimed = _due(runner).filter(pk=pk, state__in=(State.QUEUED, State.RUNNING))
    if not claimed.update(runner=runner, lease_until=now + LEASE, state=State.RUNNING):
        return
    task = LongTask.objects.filter(pk=pk).first()
    if task is None:
        return
    try:
        _write(task, kinds.next_step(task), runner)
    except TaskFailed as failed:
        fail(task, failed.code)
    except Exception:
        logger.exception("a step of task %s failed", pk)
        _try_later(task)


def _due(runner: str) -> QuerySet[LongTask]:
    now = clock.now()
    free = Q(lease_until=None) | Q(lease_until__lt=now) | Q(runner=runner)
    return LongTask.objects.filter(free, next_at__lte=now)


def _write(task: LongTask, step: TaskStep, runner: str) -> None:
    now, ended = clock.now(), {}
    if step.ends_as is not None:
        is_result = step.ends_as == State.DONE and task.kind != LongTask.Kind.USAGE_EXPORT
        ended = {
            "state": step.ends_as,
            "next_at": None,
            "runner": "",
            "finished_at": None if step.ends_as == State.WAITING else now,
            "expires_at": now + (KEPT_RESULT if is_result else KEPT),
        }
    moved = {
        "done": F("done") + step.count,
        "bytes": F("bytes") + step.bytes,
        "place": dict(step.place),
        "result": {**task.result, **step.result},
        "expected": task.expected if step.expected is None else step.expected,
        "failures": 0,
        "lease_until": None if ended else now + LEASE,
        **ended,
    }
    with durable_transaction():
        own = LongTask.objects.filter(pk=task.pk, runner=runner, state=State.RUNNING)
        if own.update(**moved):
            step.write()


def fail(task: LongTask, code: str) -> None:
    """End a task that cannot be finished, and erase what it had written."""
    end(task, State.FAILED, code)


def end(task: LongTask, state: LongTask.State, code: str = "") -> None:
    """End a task, and erase what it had written of a file."""
    now = clock.now()
    with durable_transaction():
        LongTask.objects.filter(pk=task.pk).update(
            state=state,
            error=code,
            next_at=None,
            runner="",
            lease_until=None,
            bytes=0,
            finished_at=now,
            expires_at=now + KEPT,
        )
        TaskPiece.objects.filter(task=task).delete()


def _try_later(task: LongTask) -> None:
    if task.failures + 1 >= MOST_FAILURES:
        fail(task, BROKEN)
        return
    LongTask.objects.filter(pk=task.pk).update(
        failures=F("failures") + 1,
        next_at=clock.now() + AFTER_FAILURE,
        runner="",
        lease_until=None,
    )
