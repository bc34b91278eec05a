"""Write structured logs: one JSON object a line, or readable text on a terminal, secrets scrubbed from
both.

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

from gateway_project.lib import clock, current_request

_SECRETS = re.compile(
    rb"tg_(?:live|test|admin)_[0-9A-Za-z]{10}_[0-9A-Za-z]{6,}"
    rb"|tg_play_[0-9A-Za-z_]{16,}"
    rb"|tg_inv_[0-9A-Za-z]{16,}"
    rb"|whsec_[0-9A-Za-z+/=]{16,}"
    rb"|(?<=/password/reset/key/)[0-9A-Za-z]+-[0-9A-Za-z-]+"
    rb"|\b(?:sk|gsk|xai|AIza|pk|rk)[-_][0-9A-Za-z_-]{16,}"
    rb"|AIza[0-9A-Za-z_-]{20,}"
    rb"|(?i:bearer)\s+[0-9A-Za-z._~+/=-]{8,}"
)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",  # uvicorn's second copy of its message
    "request",  # Django's, with the whole of a query; the line has the request's id
}


def scrub(text: bytes) -> bytes:
    """Replace anything that looks like a credential with `***`."""
    return _SECRETS.sub(b"***", text)


def scrub_text(text: str) -> str:
    """Scrub a `str` in the same way."""
    return scrub(text.encode("utf-8", "replace")).decode()


class RefusedByDjango(logging.Filter):
    """Bounds the lines of requests that Django refuses as hostile, because anybody can cause them. They have
    no traceback, which would only show where Django checks; the next line tells how many were left out."""

    def __init__(self, name: str = "") -> None:
        super().__init__(name)
        self.allowance = Allowance(RequestLog.STRANGERS_PER_SECOND, RequestLog.STRANGERS_BURST)

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("django.security."):
            return True
        if not self.allowance.take():
            return False
        record.exc_info = record.exc_text = None
        if left_out := self.allowance.reset():
            record.left_out = left_out
        return True


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what was passed as `extra=`, and of which request the line is if it is logged for one."""
    request = current_request.current()
    fields: dict[str, Any] = {} if request is None else request.log_fields()
    fields.update((k, v) for k, v in vars(record).items() if k not in _STANDARD)
    return fields


class JsonFormatter(logging.Formatter):
    """Formats a log record as one JSON line; what was passed as `extra=` becomes fields of its own."""

    def format(self, record: logging.LogRecord) -> str:
        return scrub(orjson.dumps(self.fields(record), default=str)).decode()

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "time": record.created,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields.update(fields_of(record))
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return fields


class ConsoleFormatter(logging.Formatter):
    """Formats a log record for a person at a terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        extra = " ".join(f"{k}={v}" for k, v in fields_of(record).items())
        return scrub_text(f"{super().format(record)} {extra}".rstrip())


class CallLog:
    """Writes the line of every settled call, in a single write, which is cheaper than the logging module.

    The line is not scrubbed as a whole, which would cost more than all the rest: its values are ours, and
    code that adds text from outside scrubs that text. A line that cannot be written is counted, not
    raised: losing a log line must not lose an answer.
    """

    def __init__(self, descriptor: int, *, as_json: bool) -> None:
        self._descriptor = descriptor
        self._as_json = as_json
        self.lost_lines = 0

    def write(self, fields: dict[str, Any]) -> None:
        if self._as_json:
            # Put before the others, which need not be copied for it.
            time = orjson.dumps(clock.timestamp())
            line = b'{"time":%b,%b' % (time, orjson.dumps(fields, default=str)[1:])
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


class Allowance:
    """Lets `burst` events pass at once and `per_second` after that, and counts those it refuses."""

    __slots__ = ("_burst", "_full_at", "_per_second", "refused")

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._full_at = float("-inf")  # when all that passed is made up for
        self.refused = 0

    def take(self) -> bool:
        now = clock.monotonic()
        full_at = max(self._full_at, now) + 1 / self._per_second
        if full_at - now > self._burst / self._per_second:
            self.refused += 1
            return False
        self._full_at = full_at
        return True

    def reset(self) -> int:
        """Return how many were refused since the last reset."""
        refused, self.refused = self.refused, 0
        return refused


class RequestLog:
    """Writes the line of every answered request.

    Lines of strangers, who have shown no valid key and are not signed in, are bounded because anybody can
    cause them; the next line reports how many were left out. Those of pages have a bound of their own: a page
    comes with its styles and scripts, and is not to hide who tries keys.
    """

    STRANGERS_PER_SECOND = 20
    STRANGERS_BURST = 200

    def __init__(self, log: CallLog) -> None:
        self._log = log
        self.strangers = Allowance(self.STRANGERS_PER_SECOND, self.STRANGERS_BURST)
        self.visitors = Allowance(self.STRANGERS_PER_SECOND, self.STRANGERS_BURST)

    def write(self, fields: dict[str, Any], *, is_page: bool = False) -> None:
        """Write a line, unless `fields` names neither key nor account and there were too many such lines."""
        if fields.get("key") is None and fields.get("account") is None:
            allowance = self.visitors if is_page else self.strangers
            if not allowance.take():
                return
            if left_out := allowance.reset():
                fields = {**fields, "left_out": left_out}
        self._log.write(fields)


def wants_json(log_format: str) -> bool:
    """Tell whether `auto` means JSON here: everywhere but on a terminal."""
    return log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
