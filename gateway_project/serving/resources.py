"""Claim system resources for a serving process."""

from __future__ import annotations

import contextlib
import ctypes
import resource

_M_ARENA_MAX = -8  # of glibc's malloc.h


def raise_file_limit() -> None:
    """Raise the limit of open files to the system's maximum: each running call needs two sockets."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def share_one_arena() -> None:
    """Make all threads allocate from one arena.

    glibc gives each thread its own, against a contention that is rare where one thread at a time runs
    Python (docs/performance.md: none was measured, with SQLite at work in another). A worker then holds
    what the largest job of each of its threads took, which looks like a leak until every thread has had
    one. Without glibc this does nothing.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
