"""Say what a kind of task does, a step at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tenants.models import LongTask


def write_nothing() -> None:
    """Leave the database as it is."""


@dataclass(frozen=True, slots=True)
class TaskStep:
    """Hold what one step found, before anything is written.

    count     rows it has dealt with
    place     where the next step begins
    write     what it writes, in the transaction that also moves the task on
    bytes     what it adds to the task's file
    result    figures of the task, those that have changed
    expected  how many rows there will be in all, if it is known now
    ends_as   the state the task ends in, or waits in; None: there is more to do
    """

    count: int = 0
    place: Mapping[str, Any] = field(default_factory=dict)
    write: Callable[[], None] = write_nothing
    bytes: int = 0
    result: Mapping[str, Any] = field(default_factory=dict)
    expected: int | None = None
    ends_as: LongTask.State | None = None


class TaskFailed(Exception):
    """A task that cannot be finished, however often it is tried; `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


NextStep = Callable[[LongTask], TaskStep]
_kinds: dict[str, NextStep] = {}


def task_kind(kind: LongTask.Kind) -> Callable[[NextStep], NextStep]:
    """Make a function tell what a task of this kind has to do next. It writes nothing itself."""

    def register(next_step: NextStep) -> NextStep:
        _kinds[kind] = next_step
        return next_step

    return register


def next_step(task: LongTask) -> TaskStep:
    """Return the next step of a task. Raise TaskFailed."""
    return _kinds[task.kind](task)
