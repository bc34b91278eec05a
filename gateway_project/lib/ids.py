"""Generate identifiers and the randomness behind them, in one place so that tests can fix them."""

from __future__ import annotations

import os
import random
from datetime import datetime
from uuid import UUID

from gateway_project.lib import clock

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


# Of request ids and draws, which are no secrets and of which every request needs some: a generator of the
# process's own, because asking the system's costs a system call. A child must not go on with its parent's
# numbers.
_of_requests = random.Random(os.urandom(32))  # noqa: S311
os.register_at_fork(after_in_child=lambda: _of_requests.seed(os.urandom(32)))


def random_bytes(count: int) -> bytes:
    """Return `count` bytes from the operating system's generator."""
    return os.urandom(count)


def random_bits() -> int:
    """Return 64 random bits that are no secret, without a system call."""
    return _of_requests.getrandbits(64)


def base62(length: int) -> str:
    """Return a uniformly random base-62 string.

    Bytes of 248 and above are discarded, because 248 is the largest multiple of 62 in a byte.
    """
    text = ""
    while len(text) < length:
        text += "".join(ALPHABET[b % 62] for b in random_bytes(2 * length) if b < 248)
    return text[:length]


def uuid7() -> UUID:
    """Return a time-ordered UUID, RFC 9562 section 5.7: 48 bits of milliseconds, then random bits."""
    milliseconds = int(clock.timestamp() * 1000)
    value = (milliseconds << 80) | int.from_bytes(random_bytes(10), "big")
    value = value & ~(0xF << 76) | (7 << 76)
    return UUID(int=value & ~(0x3 << 62) | (2 << 62))


def first_uuid7(at: datetime) -> UUID:
    """Return the bound of an instant: ids that `uuid7` made before it are lower, all others are not."""
    return UUID(int=int(at.timestamp() * 1000) << 80)


def request_id() -> str:
    """Return the id of an HTTP request, `req_` and 32 hex digits, used in its header, errors and logs.

    The digits are a UUIDv7 whose lowest 16 bits are free: the ledger numbers the request's upstream calls
    there (tenants/ledger/row_ids.py).
    """
    milliseconds = int(clock.timestamp() * 1000)
    bits = _of_requests.getrandbits(58)
    drawn = 7 << 60 | bits >> 46 << 48 | 2 << 46 | bits & (1 << 46) - 1
    return f"req_{(milliseconds << 64 | drawn).to_bytes(14).hex()}0000"


def response_id() -> str:
    """Return the id of a Response object, `resp_` and 48 hex digits."""
    return "resp_" + random_bytes(24).hex()


def completion_id() -> str:
    """Return the id of a chat completion, `chatcmpl-` and 32 hex digits."""
    return "chatcmpl-" + random_bytes(16).hex()


def conversation_id() -> str:
    """Return the id of a Conversation object, `conv_` and 48 hex digits."""
    return "conv_" + random_bytes(24).hex()


def item_id(prefix: str) -> str:
    """Return the id of an item, such as `msg_` and 48 hex digits; `prefix` comes without the underscore."""
    return f"{prefix}_{random_bytes(24).hex()}"


def call_id() -> str:
    """Return the id by which a tool result names its call, `call_` and 24 hex digits."""
    return "call_" + random_bytes(12).hex()
