"""Run a Python program that ends with the process that started it, however that ends.

`python -m tests.support.tethered manage.py serve …` holds on to its standard input, which its starter never
writes to: when nobody holds the other end any more, it is told to end, and killed if it does not. A signal on
the parent's death (prctl) would come when the starting *thread* ends, and on Linux alone.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

GRACE_SECONDS = 5.0


def main() -> None:
    # Of its own: what the program's children inherit does not hold it, and the program itself reads nothing.
    tether = os.dup(0)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a descriptor is all that is wanted
        os.dup2(nothing.fileno(), 0)
    threading.Thread(target=_end_with_starter, args=(tether,), daemon=True).start()
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")


def _end_with_starter(tether: int) -> None:
    while os.read(tether, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
