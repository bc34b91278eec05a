"""Turn request headers into a Caller.

One function takes the credential out of the headers, whatever alias it travels under, so that no route
can be stricter or laxer than another. A malformed key never reaches a query, and the cache is keyed by
the full digest: by a part of it, one key could answer for another.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway_project.lib.cache import LoadingCache, StoreUnavailable
from gateway_project.lib.db import in_database_thread
from gateway_project.lib.errors import ConflictingCredentials, Unauthenticated, Unavailable
from tenants.keys import caller, key_format, peppers, play_tokens
from tenants.keys.caller import Caller

FRESH_SECONDS = 30.0
STALE_SECONDS = 300.0
MAX_CALLERS = 20_000
MAX_UNKNOWN = 5_000
MAX_HEADER_LENGTH = 256


def key_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the well-formed API key in raw ASGI headers (lower-case names).

    Raise Unauthenticated or ConflictingCredentials.
    """
    key = credential_of(headers)
    if not key_format.is_well_formed(key):
        raise Unauthenticated
    return key


def claimed_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the public id of the key that a request claims to have, for the log; None if it has none."""
    try:
        return key_format.public_id_of(credential_of(headers))
    except (Unauthenticated, ConflictingCredentials):
        return None


def credential_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return what the headers claim to be a key, unchecked.

    `Authorization: Bearer` and `x-api-key` carry the same credential; two different ones are refused,
    because it would be unclear who pays. Raise Unauthenticated or ConflictingCredentials.
    """
    found = ""
    for name, raw in headers:
        if name == b"authorization" or name == b"x-api-key":  # noqa: PLR1714  # runs for every header
            credential = _credential(name, raw)
            if found and credential != found:
                raise ConflictingCredentials(
                    "Two different credentials were sent; send one of 'Authorization' and 'x-api-key'."
                )
            found = credential
    if not found:
        raise Unauthenticated
    return found


def _credential(name: bytes, raw: bytes) -> str:
    """Return what the header carries; a malformed key for an unknown scheme or an oversized value."""
    if name == b"x-api-key":
        return raw[:MAX_HEADER_LENGTH].strip().decode("latin-1") or "?"
    scheme, _, value = raw[:MAX_HEADER_LENGTH].partition(b" ")
    return (scheme.lower() == b"bearer" and value.strip().decode("latin-1")) or "?"


class Authenticator:
    """Callers by digest, cached until the configuration's revision changes."""

    def __init__(self) -> None:
        self._callers: LoadingCache[bytes, Caller] = LoadingCache(
            fresh_seconds=FRESH_SECONDS,
            stale_seconds=STALE_SECONDS,
            max_entries=MAX_CALLERS,
            max_absent=MAX_UNKNOWN,
        )

    def get_cached(self, key: str) -> Caller | None:
        """Return the caller behind a cached key, whether or not it is still valid; no I/O."""
        return self._callers.fresh(peppers.digest(key))

    async def find(self, key: str) -> Caller:
        """Return the caller behind a claimed key. Raise Unauthenticated or Unavailable."""
        digest = peppers.digest(key)
        # What is remembered under its digest was a good key; only the rest needs to be looked at.
        return self._callers.fresh(digest) or await self._look_up(digest, key)

    def clear(self) -> None:
        self._callers.clear()

    async def _look_up(self, digest: bytes, key: str) -> Caller:
        if not key_format.is_well_formed(key):
            return await self._find_player(key)
        try:
            found = await self._callers.get(digest, lambda: in_database_thread(caller.find, key))
        except StoreUnavailable as error:
            raise _away() from error
        if found is None:
            raise Unauthenticated
        return found

    async def _find_player(self, text: str) -> Caller:
        """Return the caller behind a token of the playground. Nothing of it is remembered: what it depends on
        beside its key, a person's session and rights, changes without the revision.
        """
        token = play_tokens.read(text)
        if token is None:
            raise Unauthenticated
        from tenants.sign_in import players  # noqa: PLC0415  # only a worker with a console needs it

        try:
            found = await in_database_thread(players.find, token)
        except StoreUnavailable as error:
            raise _away() from error
        if found is None:
            raise Unauthenticated
        return found


def _away() -> Unavailable:
    return Unavailable("The database is unavailable; try again.", retry_after_seconds=2)
