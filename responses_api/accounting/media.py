"""Measure images and recordings from their first bytes, without decoding them as a whole. Pure."""

from __future__ import annotations

import binascii
import struct
from collections.abc import Callable

PNG = b"\x89PNG\r\n\x1a\n"
# An image has few segments before its size; a file with more is not an image anybody would send.
MAX_SEGMENTS = 256
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PCM, _FLOAT = 1, 3

Size = tuple[int, int]


class Base64:
    """Bytes behind base64 text, decoded only where they are read. Raise ValueError for any other text."""

    __slots__ = ("_text", "size")

    def __init__(self, text: str) -> None:
        self._text = text
        self.size = len(text) * 3 // 4 - text.count("=", max(len(text) - 2, 0))

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset`, fewer at the end of the text."""
        first = offset // 3
        last = -(-(offset + count) // 3)
        piece = self._text[first * 4 : last * 4]
        begin = offset - first * 3
        return binascii.a2b_base64(piece)[begin : begin + count]


def image_size(data: Base64) -> Size | None:
    """Return the width and height in pixels of a PNG, JPEG, GIF or WebP; None if they cannot be read."""
    try:
        head = data.read(0, 32)
        for magic, read in _READERS:
            if head.startswith(magic):
                return read(data, head)
    except (ValueError, struct.error, IndexError):
        pass
    return None


def _png(_: Base64, head: bytes) -> Size:
    width, height = struct.unpack_from(">II", head, 16)
    return width, height


def _gif(_: Base64, head: bytes) -> Size:
    width, height = struct.unpack_from("<HH", head, 6)
    return width, height


def _webp(_: Base64, head: bytes) -> Size | None:
    kind = head[12:16]
    if head[8:12] != b"WEBP":
        return None
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        width, height = head[24:27], head[27:30]
        return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1
    return None


def _jpeg(data: Base64, _: bytes) -> Size | None:
    """Walk the segments to the one that begins a frame, and read its size."""
    offset = 2
    for _segment in range(MAX_SEGMENTS):
        segment = data.read(offset, 9)
        if segment[0] != 0xFF:
            return None
        if segment[1] == 0xFF:  # padding
            offset += 1
            continue
        if segment[1] in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", segment, 5)
            return width, height
        (length,) = struct.unpack_from(">H", segment, 2)
        offset += 2 + length
    return None


_READERS: tuple[tuple[bytes, Callable[[Base64, bytes], Size | None]], ...] = (
    (PNG, _png),
    (b"\xff\xd8", _jpeg),
    (b"GIF8", _gif),
    (b"RIFF", _webp),
)


def wav_seconds(data: Base64) -> float | None:
    """Return how long an uncompressed WAV plays; None for any other recording."""
    try:
        head = data.read(0, 36)
        if head[:4] != b"RIFF" or head[8:16] != b"WAVEfmt ":
            return None
        kind, channels, rate = struct.unpack_from("<HHI", head, 20)
        (bits,) = struct.unpack_from("<H", head, 34)
    except (ValueError, struct.error):
        return None
    bytes_per_second: int = channels * rate * bits // 8
    if kind not in {_PCM, _FLOAT} or bytes_per_second == 0:
        return None
    return data.size / bytes_per_second
