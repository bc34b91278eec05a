"""Decompress what vendors compress although they were asked not to, and name what is no HTTP response."""

from __future__ import annotations

import zlib

# The most that is made of compressed bytes at a time: about what one read of a socket gives.
INFLATED_BYTES = 64 * 1024
_EITHER_ZLIB_OR_GZIP = zlib.MAX_WBITS | 32
_NEITHER = -zlib.MAX_WBITS
_GZIP = b"\x1f\x8b"
# A gzip body may consist of several: as many as tools that write blocks of 64 KB make of the largest answer.
MAX_MEMBERS = 4096


class ConnectionCut(Exception):
    """The upstream closed the connection before its response was complete."""


class BrokenHTTP(Exception):
    """The upstream sent something other than an HTTP response."""


class Inflater:
    """Decompresses what vendors compress although they were asked not to: gzip, also in several members, and
    deflate with zlib's frame or, as some servers understand it, without (RFC 9110, 8.4.1)."""

    __slots__ = ("_decompress", "_encoding", "_members", "_rest")

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._decompress: zlib._Decompress | None = None
        self._members = 0
        self._rest = b""

    def feed(self, raw: bytes) -> None:
        if self._encoding not in {"gzip", "x-gzip", "deflate"}:
            raise BrokenHTTP(f"content-encoding {self._encoding[:40]!r}")
        self._rest += raw

    def next(self) -> bytes:
        """Return some of what the bytes so far stand for: little of them may stand for much."""
        out = b""
        while self._rest and not out:
            if self._decompress is None:
                if len(self._rest) < len(_GZIP):
                    break
                self._decompress = self._begin_member()
            member = self._decompress
            try:
                out = member.decompress(self._rest, INFLATED_BYTES)
            except zlib.error:
                raise ConnectionCut from None
            self._rest = member.unconsumed_tail
            if member.eof:
                self._end_member(member.unused_data)
        return out

    def _begin_member(self) -> zlib._Decompress:
        """Raises BrokenHTTP for more members than anybody means."""
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise BrokenHTTP(f"more than {MAX_MEMBERS} compressed members")
        begin = self._rest[:2]
        has_frame = begin == _GZIP or (begin[0] & 15 == 8 and int.from_bytes(begin) % 31 == 0)
        is_bare = self._encoding == "deflate" and not has_frame
        return zlib.decompressobj(_NEITHER if is_bare else _EITHER_ZLIB_OR_GZIP)

    def _end_member(self, after: bytes) -> None:
        """Go on with the next member, if one follows: padding is none, and nothing comes after it."""
        self._rest = after if after[:2] in (_GZIP, _GZIP[:1]) else b""
        self._decompress = None
