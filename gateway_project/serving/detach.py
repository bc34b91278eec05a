"""Go on in the background once everything is ready, so that a service manager learns whether it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def detach() -> Callable[[], None]:
    """Go on in a child, outside the terminal; return what it calls once it is ready.

    The parent waits for that and ends with code 0, or with 1 if the child ends before, which says why itself.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        sys.exit(0 if os.read(reader, 1) else 1)
    os.close(reader)
    os.setsid()

    def tell_ready() -> None:
        os.write(writer, b"1")
        os.close(writer)

    return tell_ready
