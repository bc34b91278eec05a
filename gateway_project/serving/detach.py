"""Go on in the background once everything is ready, so that a service manager learns whether it is."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable


def detach() -> Callable[[], None]:
    """Go on in a process of the system's own; return what it calls once it is ready.

    Whoever called waits for that and ends with code 0, or with 1 if the process ends before, which says why
    itself. That process is no child of the caller: systemd would take it for somebody else's, and kill it
    without waiting for its drain.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    if child := os.fork():
        os.close(writer)
        os.waitpid(child, 0)
        sys.exit(0 if os.read(reader, 1) else 1)
    os.close(reader)
    os.setsid()
    if os.fork():
        os._exit(0)

    def tell_ready() -> None:
        with contextlib.suppress(
            BrokenPipeError
        ):  # the caller did not wait; the gateway serves all the same
            os.write(writer, b"1")
        os.close(writer)

    return tell_ready
