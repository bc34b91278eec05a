"""Read the texts of inline files: data URLs, and bare base64.

Who is to read them may be generous, so everything counts that anybody would decode: other alphabets, line
breaks, escapes, base64 without its end.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import string

from msgspec import Struct

_TEXTUAL = ("text/", "application/json", "application/xml", "application/yaml", "application/x-")
_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# A text that does not say it is one is known by its beginning.
_PEEK = 4_096
_COMMON_ALPHABET = bytes.maketrans(b"-_", b"+/")
_BASE64 = (string.ascii_letters + string.digits + "+/").encode()
_BASE64_AND_BREAKS = _BASE64 + b"-_=\r\n"
_NO_BASE64 = bytes(set(range(256)) - set(_BASE64))


class InlineText(Struct, frozen=True):
    """A text, what stands before its base64, and how it is encoded."""

    head: str
    text: str
    codec: str

    def with_text(self, text: str) -> str:
        """Return the same data with another text."""
        return self.head + base64.b64encode(text.encode(self.codec, errors="replace")).decode()


def text_in(data: str) -> InlineText | None:
    """Return the text of inline data; None if it has none."""
    head, payload = _divide(data)
    says_text = head[5:].lower().startswith(_TEXTUAL)
    if "%" in payload and head:
        payload = _unescaped(payload)
    if _says_base64(head):
        raw = _decoded(payload, says_text=says_text)
    else:
        raw, head = payload.encode(errors="replace"), f"{head};base64"
    codec = _codec(raw, says_text=says_text) if raw else None
    return None if codec is None else InlineText(head and f"{head},", raw.decode(codec), codec)


def is_sound(data: str) -> bool:
    """Tell whether inline data is what it says, so that nobody can read it as it stands there."""
    head, payload = _divide(data)
    return not _says_base64(head) or is_base64(payload)


def is_base64(text: str) -> bool:
    return not text.encode(errors="replace").translate(None, _BASE64_AND_BREAKS)


def _divide(data: str) -> tuple[str, str]:
    """Divide a data URL at its comma; what is none has no head."""
    if data[:5].lower() != "data:":
        return "", data
    head, _, payload = data.partition(",")
    return head, payload


def _says_base64(head: str) -> bool:
    return not head or "base64" in (option.strip() for option in head.lower().split(";"))


def _codec(raw: bytes, *, says_text: bool) -> str | None:
    """Return how a text is encoded; None for what is none. What says that it is one is read as such."""
    try:
        if raw.startswith(_BOMS):
            raw.decode("utf-16")
            return "utf-16"
        raw.decode()
    except ValueError:
        return "latin-1" if says_text else None
    return "utf-8" if says_text or b"\x00" not in raw else None


def _decoded(payload: str, *, says_text: bool) -> bytes:
    """Return what base64 stands for; nothing if that begins like no text, and does not say that it is one."""
    beginning = _of_base64(payload[:_PEEK])
    if not says_text and not beginning.startswith(_BOMS):
        try:
            codecs.getincrementaldecoder("utf-8")().decode(beginning)
        except ValueError:
            return b""
    return _of_base64(payload)


def _of_base64(payload: str) -> bytes:
    """Decode base64, whatever stands between its characters and however it ends."""
    raw = payload.encode(errors="replace").translate(_COMMON_ALPHABET)
    try:
        return base64.b64decode(raw)
    except binascii.Error:  # of its padding; what is left over is no byte
        kept = raw.translate(None, _NO_BASE64)
        return base64.b64decode(kept[: len(kept) - (len(kept) % 4 == 1)] + b"==")


def _unescaped(payload: str) -> str:
    """Decode percent escapes, all at once: one by one, ten million of them would take seconds."""
    raw = payload.encode(errors="replace").replace(b"=", b"=3D").replace(b"%", b"=")
    return binascii.a2b_qp(raw).decode(errors="replace")
