"""Read images and files in a request: data URLs, bare base64, and ids that are not ours to use."""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

from gateway_project.lib.errors import BadRequest, UnsupportedParameter
from gateway_project.lib.json import Json

_TYPES = {
    "csv": "text/csv",
    "gif": "image/gif",
    "htm": "text/html",
    "html": "text/html",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "md": "text/markdown",
    "pdf": "application/pdf",
    "png": "image/png",
    "txt": "text/plain",
    "webp": "image/webp",
    "xml": "text/xml",
}


class Content(NamedTuple):
    """The content of a file or image. `data` is base64."""

    media_type: str
    data: str

    @property
    def url(self) -> str:
        return f"data:{self.media_type};base64,{self.data}"

    @property
    def is_text(self) -> bool:
        return self.media_type.startswith("text/") or self.media_type == "application/json"

    def text(self, at: str) -> str:
        """Decode the content as text. Raises BadRequest."""
        try:
            return base64.b64decode(self.data).decode()
        except (binascii.Error, ValueError):
            raise BadRequest(f"'{at}' is not base64 of UTF-8 text.", param=at) from None


def in_data_url(url: str, at: str) -> Content | None:
    """Read a data URL (RFC 2397); None for any other URL. Raises BadRequest."""
    if url[:5].lower() != "data:":
        return None
    head, comma, data = url[5:].partition(",")
    media_type, _, options = head.partition(";")
    if not comma or not media_type:
        raise BadRequest(f"'{at}' must be a data URL with a media type.", param=at)
    if ";base64;" not in f";{options};":
        data = base64.b64encode(_unquoted(data, at)).decode()
    return Content(media_type.lower(), data)


def _unquoted(text: str, at: str) -> bytes:
    """Decode percent escapes. Raises BadRequest.

    The standard library makes two objects for each, which for ten million of them stopped a worker for longer
    than it may stand still. Quoted-printable is the same with another sign, and is decoded in one go.
    """
    raw = text.encode(errors="replace")
    decoded = binascii.a2b_qp(raw.replace(b"=", b"=3D").replace(b"%", b"="))
    # Each escape is two bytes shorter now; so is a sign before the end of a line, which is none.
    if len(decoded) != len(raw) - 2 * raw.count(b"%") or b"%\n" in raw or b"%\r" in raw:
        raise BadRequest(
            f"'{at}' has a '%' that is not followed by two hexadecimal digits.", param=at
        )
    return decoded


def in_file(part: Json, at: str) -> Content | None:
    """Return the inline content of an `input_file` part; None if it has none. Raises BadRequest."""
    refuse_id(part, at)
    given = part.get("file_data")
    if not isinstance(given, str):
        return None
    found = in_data_url(given, f"{at}.file_data")
    if found is not None:
        return found
    ending = str(part.get("filename") or "").rpartition(".")[2].lower()
    if ending not in _TYPES:
        raise BadRequest(
            f"'{at}.file_data' must be a data URL with a media type, or 'filename' must tell the type.",
            param=f"{at}.file_data",
        )
    return Content(_TYPES[ending], given)


def refuse_id(part: Json, at: str) -> None:
    """Refuse the id of a stored file: what one provider stores is unknown to the next."""
    if part.get("file_id"):
        raise UnsupportedParameter(
            f"'{at}.file_id' names a file stored at a provider, and this model's provider does not have "
            "it; send the content itself.",
            param=f"{at}.file_id",
        )


def unsupported(part: Json, at: str) -> UnsupportedParameter:
    """Make the error for a kind of content that the upstream's protocol does not have."""
    return UnsupportedParameter(
        f"Content of the type {part.get('type')!r} cannot be sent to the provider of this model.",
        param=f"{at}.type",
    )
