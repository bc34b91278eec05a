"""What a serving process takes from its system."""

from __future__ import annotations

import contextlib
import ctypes
import resource

_M_ARENA_MAX = -8  # of glibc's malloc.h


def raise_file_limit() -> None:
    """Each running call needs two sockets; take as many as the system allows us."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def share_one_arena() -> None:
    """Let all threads allocate from one place. glibc gives each of them an arena of its own, against a
    contention that is rare where one thread at a time runs Python (docs/performance.md: none was measured,
    with SQLite at work in another); a worker then holds what the largest job of each of its threads took,
    which looks like a leak until every thread has had one. Not glibc: nothing."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
