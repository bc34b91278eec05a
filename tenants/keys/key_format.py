"""The text form of an API key, checked without any look-up.

    tg_live_<id: 10 base62>_<secret: 32 base62, about 190 bits><crc: 6 base62>

A token of the management API begins with tg_admin_ instead, one of the playground with tg_play_
(play_tokens.py); none is ever taken for another.

The CRC-32 of everything before it only rejects typing errors and random guesses offline (as in GitHub's
published token format); it proves nothing.
"""

from __future__ import annotations

import re
import zlib

from gateway_project.lib import ids
from gateway_project.lib.secret import Secret

_REST = r"_([0-9A-Za-z]{10})_([0-9A-Za-z]{32})([0-9A-Za-z]{6})\Z"
_PATTERN = re.compile(f"tg_(?:live|test){_REST}")
_TOKEN = re.compile(f"tg_admin{_REST}")


def new_key(public_id: str) -> Secret:
    """Return a fresh key for this public id."""
    body = f"tg_live_{public_id}_{ids.base62(32)}"
    return Secret(body + checksum(body))


def new_token(public_id: str) -> Secret:
    """Return a fresh token of the management API for this public id."""
    body = f"tg_admin_{public_id}_{ids.base62(32)}"
    return Secret(body + checksum(body))


def is_well_formed_token(text: str) -> bool:
    """Tell whether the text has a token's shape and checksum."""
    match = _TOKEN.match(text)
    return match is not None and checksum(text[:-6]) == match.group(3)


def public_id_of(text: str) -> str | None:
    """Return the public part of a key, which may be logged; None for anything that has not a key's shape."""
    match = _PATTERN.match(text)
    return match[1] if match is not None else None


def is_well_formed(text: str) -> bool:
    """Tell whether the text has a key's shape and checksum; no I/O, about a microsecond."""
    match = _PATTERN.match(text)
    return match is not None and checksum(text[:-6]) == match.group(3)


def checksum(body: str) -> str:
    number, text = zlib.crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        text = ids.ALPHABET[digit] + text
    return text
