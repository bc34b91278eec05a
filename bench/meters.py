"""Read what a process has used: processor time, memory and retired instructions. Linux only."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PERF = ("perf", "stat", "-x", ",", "-e", "instructions:u")
PERF_ATTACH_SECONDS = 0.2
CPUCLOCK_SCHED = 2


def cpu_seconds(pid: int) -> float:
    """Return user and system time of all threads, to the nanosecond.

    This is the process's own clock, the one clock_getcpuclockid(3) names; /proc/PID/stat holds the same
    sum, but cut to hundredths of a second.
    """
    return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)


def rss_megabytes(pid: int) -> float:
    """Return the memory held now, in units of 10^6 bytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024 / 1e6


def pss_megabytes(pids: Iterable[int]) -> float:
    """Return the memory processes hold together, what they share counted once, in units of 10^6 bytes."""
    rollups = (Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii") for pid in pids)
    lines = (line for rollup in rollups for line in rollup.splitlines() if line.startswith("Pss:"))
    return sum(int(line.split()[1]) for line in lines) * 1024 / 1e6


@dataclass(slots=True)
class Reading:
    """Hold what a process used while it was read. `cpu_of_all` adds the processes that were read beside it;
    `instructions` is None where they cannot be counted."""

    cpu: float = 0.0
    cpu_of_all: float = 0.0
    instructions: float | None = None


@contextlib.contextmanager
def reading(
    pid: int, *, beside: Iterable[int] = (), count_instructions: bool = False
) -> Iterator[Reading]:
    """Read a process, and others `beside` it, while the block runs; the reading is complete after it."""
    found = Reading()
    others = set(beside) - {pid}
    counter = _start_counter(pid) if count_instructions else None
    before, before_beside = cpu_seconds(pid), sum(map(cpu_seconds, others))
    try:
        yield found
    finally:
        found.cpu = cpu_seconds(pid) - before
        found.cpu_of_all = found.cpu + sum(map(cpu_seconds, others)) - before_beside
        if counter is not None:
            counter.send_signal(signal.SIGINT)
            found.instructions = counted(counter.communicate()[1])


@contextlib.contextmanager
def on_one_processor(pids: Iterable[int]) -> Iterator[None]:
    """Let these processes and this one share a processor while the block runs."""
    tasks = [
        int(task.name)
        for pid in (*pids, os.getpid())
        for task in Path(f"/proc/{pid}/task").iterdir()
    ]
    before = {task: os.sched_getaffinity(task) for task in tasks}
    one = {min(os.sched_getaffinity(0))}
    try:
        for task in tasks:
            os.sched_setaffinity(task, one)
        yield
    finally:
        for task, processors in before.items():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(task, processors)


def counts_instructions() -> bool:
    """Tell whether this machine lets us count instructions: many virtual ones do not."""
    try:
        tried = subprocess.run([*PERF, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return False
    return counted(tried.stderr) is not None


def counted(report: str) -> float | None:
    """Return the count in the output of `perf stat -x ,`; None if it counted nothing."""
    for line in report.splitlines():
        count, *rest = line.split(",")
        if any("instructions" in word for word in rest) and count.isdigit():
            return float(count)
    return None


def _start_counter(pid: int) -> subprocess.Popen[str]:
    counter = subprocess.Popen([*PERF, "-p", str(pid)], stderr=subprocess.PIPE, text=True)
    time.sleep(PERF_ATTACH_SECONDS)
    return counter
