"""Structured logs: one JSON object a line, or readable text on a terminal, secrets scrubbed from both.

Values of type Secret print as `***` by themselves; the scrubber is the second net, for text that came
from elsewhere.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import Any

import orjson

from gateway_project.lib import clock

_SECRETS = re.compile(
    rb"tg_(?:live|test)_[0-9A-Za-z]{10}_[0-9A-Za-z]{6,}"
    rb"|\b(?:sk|gsk|xai|AIza|pk|rk)[-_][0-9A-Za-z_-]{16,}"
    rb"|AIza[0-9A-Za-z_-]{20,}"
    rb"|(?i:bearer)\s+[0-9A-Za-z._~+/=-]{8,}"
)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",  # uvicorn's second copy of its message
}


def scrub(text: bytes) -> bytes:
    """Replace what looks like a credential with `***`."""
    return _SECRETS.sub(b"***", text)


def scrub_text(text: str) -> str:
    """`scrub` for text."""
    return scrub(text.encode("utf-8", "replace")).decode()


class JsonFormatter(logging.Formatter):
    """A log record as one JSON line; what was given as `extra=` becomes fields of its own."""

    def format(self, record: logging.LogRecord) -> str:
        return scrub(orjson.dumps(self.fields(record), default=str)).decode()

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "time": record.created,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields.update((k, v) for k, v in vars(record).items() if k not in _STANDARD)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return fields


class ConsoleFormatter(logging.Formatter):
    """A log record for a person at a terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        extra = " ".join(f"{k}={v}" for k, v in vars(record).items() if k not in _STANDARD)
        return scrub_text(f"{super().format(record)} {extra}".rstrip())


class CallLog:
    """The line written for every call that was settled. Cheaper than the logging module: one write.

    The line is not scrubbed as a whole, which would cost more than all the rest of it: its values are
    ours, and whoever puts in text from outside scrubs that. A line that cannot be written is counted,
    not raised: losing a log line must not lose an answer.
    """

    def __init__(self, descriptor: int, *, as_json: bool) -> None:
        self._descriptor = descriptor
        self._as_json = as_json
        self.lost_lines = 0

    def write(self, fields: dict[str, Any]) -> None:
        if self._as_json:
            line = orjson.dumps({"time": clock.timestamp(), **fields}, default=str)
        else:
            line = self._for_people(fields)
        try:
            os.write(self._descriptor, line + b"\n")
        except OSError:
            self.lost_lines += 1

    def _for_people(self, fields: dict[str, Any]) -> bytes:
        at = clock.now().astimezone().strftime("%H:%M:%S")
        shown = " ".join(f"{k}={v}" for k, v in fields.items() if v is not None and k != "event")
        return f"{at} {fields['event']} {shown}".encode()


def wants_json(log_format: str) -> bool:
    """Whether `auto` means JSON here: everywhere but on a terminal."""
    return log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
