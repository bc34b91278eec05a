"""Give free memory back to the system; C's allocator otherwise keeps what it once had."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable


def _trim() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl has not


_malloc_trim = _trim()


def give_back() -> None:
    """Trim the heap. It takes about a millisecond, so call it after something large."""
    if _malloc_trim is not None:
        _malloc_trim(0)
