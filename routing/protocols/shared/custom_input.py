"""Take the plain text of a custom tool's input out of the JSON arguments it was wrapped in.

An upstream without custom tools is offered a function with one string, `input`; its arguments arrive as
pieces of `{"input": "…"}`, cut anywhere, and leave as pieces of that string (docs/wire.md, pitfall 20).
"""

from __future__ import annotations

import json
import re

_OPENING = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_HIGH, _LOW = r"[dD][89abAB][0-9a-fA-F]{2}", r"[dD][c-fC-F][0-9a-fA-F]{2}"
# What can be decoded without knowing what follows. A high surrogate needs its low half.
_WHOLE = re.compile(
    rf'(?:[^"\\]+|\\u{_HIGH}\\u{_LOW}|\\u(?!{_HIGH})[0-9a-fA-F]{{4}}|\\[^u])*', re.DOTALL
)
_UNFINISHED = re.compile(
    rf"\\(?:u(?:[0-9a-fA-F]{{0,3}}|{_HIGH}(?:\\(?:u[0-9a-fA-F]{{0,3}})?)?))?\Z"
)
_ESCAPE = re.compile(rf"\\u({_HIGH})\\u({_LOW})|\\u([0-9a-fA-F]{{4}})|\\([^u])", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "\\": "\\", "/": "/"}
_REPLACEMENT = "\ufffd"


class CustomInput:
    """Turn pieces of the arguments into pieces of the input."""

    __slots__ = ("_closed", "_inside", "_pending")

    def __init__(self) -> None:
        self._pending = ""
        self._inside = False
        self._closed = False

    def feed(self, piece: str) -> str:
        """Return the text that this piece completes."""
        if self._closed:
            return ""
        self._pending += piece
        if not self._inside:
            opening = _OPENING.match(self._pending)
            if opening is None:
                return ""
            self._pending = self._pending[opening.end() :]
            self._inside = True
        return self._take()

    def finish(self) -> str:
        """Return what is left at the end. Arguments of another form are given as they are."""
        rest, self._pending = self._pending, ""
        if self._inside or self._closed:
            return ""
        self._closed = True
        return _unwrap_other(rest)

    def _take(self) -> str:
        taken: list[str] = []
        while not self._closed:
            whole = _WHOLE.match(self._pending)
            end = whole.end() if whole is not None else 0
            taken.append(_decode(self._pending[:end]))
            self._pending = self._pending[end:]
            if self._pending.startswith('"'):
                self._closed, self._pending = True, ""
            elif not self._pending or _UNFINISHED.match(self._pending):
                break
            else:
                taken.append(self._take_broken_escape())
        return "".join(taken)

    def _take_broken_escape(self) -> str:
        """Accept half a surrogate pair, or a `\\u` without its digits: models write those."""
        if re.match(rf"\\u{_HIGH}", self._pending):
            self._pending = self._pending[6:]
            return _REPLACEMENT
        broken, self._pending = self._pending[:2], self._pending[2:]
        return broken


def unwrap(arguments: str) -> str:
    """Return the input in whole arguments; the arguments themselves if they are of another form."""
    reader = CustomInput()
    return reader.feed(arguments) + reader.finish()


def _unwrap_other(arguments: str) -> str:
    """Do the same for arguments whose first member is not `input`."""
    try:
        parsed = json.loads(arguments, strict=False)
    except (ValueError, RecursionError):
        return arguments
    match parsed:
        case {"input": str(text)}:
            return _WITHOUT_SURROGATES.sub(_REPLACEMENT, text)
    return arguments


_WITHOUT_SURROGATES = re.compile("[\ud800-\udfff]")


def _decode(text: str) -> str:
    return _ESCAPE.sub(_character, text) if "\\" in text else text


def _character(escape: re.Match[str]) -> str:
    high, low, unit, letter = escape.groups()
    if high:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + (int(low, 16) - 0xDC00))
    if unit:
        code = int(unit, 16)
        return _REPLACEMENT if 0xD800 <= code <= 0xDFFF else chr(code)
    return _ESCAPED.get(letter, escape.group())
