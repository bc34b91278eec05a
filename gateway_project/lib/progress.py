"""Tell on stderr how far long work is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TextIO, TypeVar

from gateway_project.lib import clock

T = TypeVar("T")
SECONDS_BETWEEN = 0.5


class ProgressLine:
    """A line that is written over on a terminal, one after another elsewhere; silent without a stream."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._is_terminal = stream is not None and stream.isatty()
        self._told_at = float("-inf")
        self._width = 0

    def over(self, items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
        """Yield the items, and tell how many of them are done."""
        if self._stream is None:
            yield from items
            return
        done = 0
        for item in items:
            self._tell(done, what, total)
            yield item
            done += 1
        self._told_at = float("-inf")
        self._tell(done, what, total)
        self._end()

    def _tell(self, done: int, what: str, total: int | None) -> None:
        now = clock.monotonic()
        if now - self._told_at < SECONDS_BETWEEN:
            return
        self._told_at = now
        text = f"{done:,} {what}" if total is None else f"{done:,} of {total:,} {what}"
        self._write(f"\r{text.ljust(self._width)}" if self._is_terminal else f"{text}\n")
        self._width = len(text)

    def _end(self) -> None:
        if self._is_terminal:
            self._write("\n")
        self._width = 0

    def _write(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(text)
            self._stream.flush()


SILENT = ProgressLine()


def progress_for(stream: Any, wish: bool | None) -> ProgressLine:
    """Return what tells on this stream if that is wished, or (None) if it is a terminal."""
    is_told = stream.isatty() if wish is None else wish
    return ProgressLine(stream) if is_told else SILENT
