"""Seal what a vendor must get back unmodified, so that no other vendor is ever sent it.

A reasoning item's `encrypted_content` travels through the client. What OpenAI-protocol upstreams put there
stays as it is; a thought of any other vendor is wrapped with the vendor's name, because a payload replayed
to another vendor is a 400 (docs/wire.md, pitfall 24). What only one account of a vendor can open names that,
too. It hides nothing and proves nothing: the vendor itself checks what it signed.
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from routing.route import ResolvedTarget

PREFIX = "tollgate.1."


class Maker(NamedTuple):
    """Name who made an item: a provider, and the id of the credential it was asked with. Either is empty
    where it is not known."""

    provider: str = ""
    account: str = ""

    @classmethod
    def of(cls, target: ResolvedTarget) -> Maker:
        return cls(target.provider, target.credential_id)


NOBODY = Maker()


class Sealed(NamedTuple):
    """An opened envelope; `payload` is any JSON value. Without an `account` all of the provider's may have
    it."""

    protocol: str
    provider: str
    payload: Any
    account: str = ""

    def belongs_to(self, target: ResolvedTarget) -> bool:
        if (self.protocol, self.provider) != (target.protocol, target.provider):
            return False
        return self.account in {"", target.credential_id}


def pack(protocol: str, provider: str, payload: Any, account: str = "") -> str:
    """Put the payload of one provider, or of one account there, into an envelope."""
    inside = orjson.dumps([protocol, provider, payload, *([account] if account else ())])
    return PREFIX + base64.urlsafe_b64encode(inside).decode().rstrip("=")


@lru_cache(maxsize=1024)
def beginning(protocol: str, provider: str) -> str:
    """Return how all envelopes of one provider begin, up to the end of its name."""
    inside = orjson.dumps([protocol, provider])[:-1] + b","
    whole = len(inside) // 3 * 3  # base64 writes three bytes at a time
    return PREFIX + base64.urlsafe_b64encode(inside[:whole]).decode()


def unpack(sealed: str) -> Sealed | None:
    """Open an envelope; None for a payload that is not ours."""
    try:
        inside = orjson.loads(read(sealed))
    except ValueError:
        return None
    match inside:
        case [str(protocol), str(provider), payload]:
            return Sealed(protocol, provider, payload)
        case [str(protocol), str(provider), payload, str(account)]:
            return Sealed(protocol, provider, payload, account)
    return None


def read(sealed: str) -> bytes:
    """Return the JSON in an envelope; nothing for a payload that is not ours, or was damaged on its way."""
    if not is_ours(sealed):
        return b""
    text = sealed[len(PREFIX) :]
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""


def is_ours(sealed: str) -> bool:
    """Tell whether a payload is one of our envelopes, even if it was damaged on its way."""
    return sealed.startswith(PREFIX)


def opened_for(target: ResolvedTarget, sealed: object) -> Any:
    """Return the payload if it was sealed for this very provider; None otherwise."""
    found = unpack(sealed) if isinstance(sealed, str) else None
    return found.payload if found is not None and found.belongs_to(target) else None
