"""A kept answer as a value, and as the bytes that are sealed."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec
import orjson
from msgspec import Struct

from responses_api.accounting.cache_hit import KeptUsage
from responses_api.calls.attempt import Attempt
from responses_api.doors.plan import DROPPED_HEADER
from responses_api.doors.replay import MAX_KEPT_BYTES, Replay
from responses_api.enforcement.call import CallGuardrails
from tenants.token_classes import Usage

_OVERHEAD = 512  # of an entry in memory, beside its bytes


class CacheEntry(Struct, frozen=True):
    """An answer that may be given again.

    answer      the finished object without what was its own call's, as JSON
    headers     what else its client was told, such as the parameters that were dropped
    counts      the tokens it took, in the order of TOKEN_CLASSES, reported by `source`
    made_at     in seconds since the epoch
    guardrails  what they did when it was made, by name
    """

    answer: bytes
    provider: str
    target: str
    counts: tuple[int, ...]
    source: str
    made_at: float
    headers: dict[str, str] = {}
    account: str = ""
    guardrails: dict[str, str] = {}

    @property
    def size(self) -> int:
        return len(self.answer) + _OVERHEAD

    @property
    def used(self) -> KeptUsage:
        return _used(self.counts, self.source, self.target)

    def age(self, now: float) -> int:
        """Return its age in whole seconds."""
        return max(int(now - self.made_at), 0)

    def is_fresh(self, now: float, seconds: int) -> bool:
        """Tell whether it may still be given where answers are kept for so long."""
        return now < self.made_at + seconds

    def read(self) -> dict[str, Any]:
        """Return the kept object."""
        answer: dict[str, Any] = orjson.loads(self.answer)
        return answer


@lru_cache(maxsize=4096)
def _used(counts: tuple[int, ...], source: str, target: str) -> KeptUsage:
    """Return the same value for the same usage, so that it is priced once."""
    return KeptUsage(Usage.of(counts), source, target)


def entry_of(
    attempt: Attempt, replay: Replay, guardrails: CallGuardrails | None, now: float
) -> CacheEntry | None:
    """Return the entry for an attempt that has ended; None if its answer may not be given again. One that a
    check could not look at passed once, and is looked at the next time."""
    if guardrails is not None and guardrails.has_skipped:
        return None
    reader = attempt.reader
    answer, final = reader.answer(), attempt.final
    if (
        answer is None
        or final is None
        or reader.status != "completed"
        or reader.failure is not None
    ):
        return None
    usage, source = final
    if usage.units or not replay.is_whole(answer):
        return None
    try:
        written = orjson.dumps(replay.kept(answer))
    except orjson.JSONEncodeError:
        return None
    if len(written) > MAX_KEPT_BYTES:
        return None
    target = attempt.target
    return CacheEntry(
        answer=written,
        provider=target.provider,
        target=target.name,
        counts=usage.counts,
        source=source,
        made_at=now,
        headers={n: v for n, v in attempt.reply_headers.items() if n == DROPPED_HEADER},
        account=target.credential_id,
        guardrails={} if guardrails is None else guardrails.found,
    )


class _Packed(Struct, array_like=True):
    """An entry as it is sealed: its answer stays the JSON it is."""

    answer: msgspec.Raw
    provider: str
    target: str
    counts: tuple[int, ...]
    source: str
    made_at: float
    headers: dict[str, str]
    account: str = ""
    guardrails: dict[str, str] = {}


_decoder = msgspec.json.Decoder(_Packed)


def pack(entry: CacheEntry) -> str:
    packed = _Packed(
        msgspec.Raw(entry.answer),
        entry.provider,
        entry.target,
        entry.counts,
        entry.source,
        entry.made_at,
        entry.headers,
        entry.account,
        entry.guardrails,
    )
    return msgspec.json.encode(packed).decode()


def unpack(text: str) -> CacheEntry:
    """Read what `pack` wrote. Raise msgspec.DecodeError for what another version wrote."""
    packed = _decoder.decode(text)
    return CacheEntry(
        bytes(packed.answer),
        packed.provider,
        packed.target,
        packed.counts,
        packed.source,
        packed.made_at,
        packed.headers,
        packed.account,
        packed.guardrails,
    )
