"""The text form of an API key, checked without any look-up.

    tg_live_<id: 10 base62>_<secret: 32 base62, about 190 bits><crc: 6 base62>

The CRC-32 of everything before it only rejects typing errors and random guesses offline (as in GitHub's
published token format); it proves nothing.
"""

from __future__ import annotations

import re
import zlib

from gateway_project.lib import ids
from gateway_project.lib.secret import Secret

_PATTERN = re.compile(r"tg_(?:live|test)_([0-9A-Za-z]{10})_([0-9A-Za-z]{32})([0-9A-Za-z]{6})\Z")


def new_key(public_id: str) -> Secret:
    """A fresh key for this public id."""
    body = f"tg_live_{public_id}_{ids.base62(32)}"
    return Secret(body + _checksum(body))


def public_id_of(text: str) -> str | None:
    """The public part of what has a key's shape, which may be logged; None for anything else."""
    match = _PATTERN.match(text)
    return match[1] if match is not None else None


def is_well_formed(text: str) -> bool:
    """Whether the text has a key's shape and checksum; no I/O, about a microsecond."""
    match = _PATTERN.match(text)
    return match is not None and _checksum(text[:-6]) == match.group(3)


def _checksum(body: str) -> str:
    number, text = zlib.crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        text = ids.ALPHABET[digit] + text
    return text
