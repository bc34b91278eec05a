"""Estimate how many tokens a request has: a fair figure, and an upper bound.

Text counts one token per four bytes, and at most one per byte. Images, recordings and files count by what
they are, not by how many bytes they take: an image by its size in pixels, a recording by its seconds, a file
by its kind. An attachment that is only named by a URL or an id may be as large as such a thing can be.

The upper bounds are the dearest of the vendors' rules:
https://platform.openai.com/docs/guides/images-vision (tiles, and 33 times as much for small models)
https://platform.claude.com/docs/en/build-with-claude/vision (pixels / 750)
https://ai.google.dev/gemini-api/docs/tokens (32 tokens per second of audio)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec import Struct

from gateway_project.lib.json import Json
from gateway_project.lib.tokens import BYTES_PER_TOKEN
from responses_api.accounting.media import Base64, image_size, wav_seconds

# OpenAI: scaled to fit into 2048 x 2048 and then to a shorter side of 768, cut into tiles of 512.
IMAGE_SIDE, SHORT_SIDE, TILE_SIDE = 2048, 768, 512
IMAGE_TOKENS, TILE_TOKENS = 85, 170
DEAREST_IMAGE_TOKENS, DEAREST_TILE_TOKENS = 2_833, 5_667
MOST_TILES = 8

AUDIO_TOKENS_PER_SECOND = 10
MOST_AUDIO_TOKENS_PER_SECOND = 50
# Of a compressed recording: at 64 kbit/s, and at the lowest rate at which speech is still understood.
AUDIO_BYTES_PER_SECOND = 8_000
LEAST_AUDIO_BYTES_PER_SECOND = 800

# Tokens of a page as text and as an image, and its bytes in a PDF or an office document.
PAGE_TOKENS = 2_000
PAGE_BYTES = 50_000
# The size of a file that is only named by a URL or an id.
NAMED_FILE_TOKENS = 10_000
MOST_FILE_TOKENS = 1_000_000
_TEXT_ENDINGS = ("csv", "html", "json", "log", "md", "txt", "xml", "yaml", "yml")
_TEXT_TYPES = ("text/", "application/json", "application/xml")

_TEXTS = ("text", "input_text", "output_text")
_LISTS = ("messages", "input", "system", "instructions")


class Estimate(Struct, frozen=True):
    """Input tokens of a request: `fair` is charged and counted if nothing better is known; `bound` is
    held, because there cannot be more."""

    fair: int
    bound: int


class _Worth(NamedTuple):
    """The size of one attachment: the characters it takes in the request, and its tokens as a fair figure
    and as a bound."""

    size: int
    fair: int
    bound: int


def estimate(body: Json, size: int, context_window: int | None = None) -> Estimate:
    """Estimate the tokens of a request of `size` bytes in any protocol. Attachments never count for more
    than the model's context window."""
    text, fair, bound = size, 0, 0
    for part in _attachments(body):
        worth = _KINDS[part["type"]](part)
        text -= worth.size
        fair += worth.fair
        bound += worth.bound
    if context_window is not None and bound > context_window:
        fair, bound = min(fair, context_window), context_window
    text = max(text, 0)
    return Estimate(text // BYTES_PER_TOKEN + fair, text + bound)


def attachment_kinds(body: Json) -> set[str]:
    """Return the kinds of attachments a request has."""
    return {part["type"] for part in _attachments(body)}


def _attachments(body: Json) -> list[Json]:
    """Return the attachments among the parts of all messages and tool results. Every call comes through
    here, so the usual message, whose content is a string, is passed over with two looks."""
    found: list[Json] = []
    for name in _LISTS:
        items = body.get(name)
        if items.__class__ is not list:
            continue
        for item in items:
            if item.__class__ is not dict:
                continue
            content = item.get("content")
            if content.__class__ is str:
                continue
            _add(item, found)
            if content.__class__ is list:
                _add_all(content, found)
            output = item.get("output")
            if output.__class__ is list:
                _add_all(output, found)
            elif output.__class__ is dict:
                _add(output, found)
    return found


def _add_all(parts: list[Any], found: list[Json]) -> None:
    for part in parts:
        if part.__class__ is dict and part.get("type") not in _TEXTS:
            _add(part, found)
            content = part.get("content")
            if content.__class__ is list and part.get("type") == "tool_result":
                _add_all(content, found)


def _add(part: Json, found: list[Json]) -> None:
    kind = part.get("type")
    if kind.__class__ is str and kind in _KINDS:
        found.append(part)


# Kinds of parts, by the names all protocols have for them


def _image_url(part: Json) -> _Worth:
    """Measure an image part; its URL is in an object in Chat and a string in Responses."""
    named = part.get("image_url")
    if isinstance(named, dict):
        return _image(named.get("url"), named.get("detail"))
    return _image(named, part.get("detail"))


def _anthropic_image(part: Json) -> _Worth:
    return _image(_fields(part.get("source")).get("data"))


def _generated_image(part: Json) -> _Worth:
    return _image(part.get("result"))


def _audio(part: Json) -> _Worth:
    text = _fields(part.get("input_audio") or part).get("data")
    if not isinstance(text, str):
        return _Worth(0, NAMED_FILE_TOKENS, MOST_FILE_TOKENS)
    data = Base64(text)
    seconds = wav_seconds(data)
    if seconds is not None:
        fair = most = seconds
    else:
        fair, most = data.size / AUDIO_BYTES_PER_SECOND, data.size / LEAST_AUDIO_BYTES_PER_SECOND
    return _Worth(
        len(text),
        int(fair * AUDIO_TOKENS_PER_SECOND) + 1,
        int(most * MOST_AUDIO_TOKENS_PER_SECOND) + 1,
    )


def _chat_file(part: Json) -> _Worth:
    return _responses_file(_fields(part.get("file")))


def _responses_file(part: Json) -> _Worth:
    return _file(part.get("file_data"), str(part.get("filename") or ""))


def _document(part: Json) -> _Worth:
    source = _fields(part.get("source"))
    if source.get("type") in {"text", "content"}:
        return _Worth(0, 0, 0)  # it is text, and counts as text
    return _file(source.get("data"), "", str(source.get("media_type") or ""))


def _video(_: Json) -> _Worth:
    return _Worth(0, NAMED_FILE_TOKENS, MOST_FILE_TOKENS)


_KINDS: dict[str, Callable[[Json], _Worth]] = {
    "computer_screenshot": _image_url,
    "document": _document,
    "file": _chat_file,
    "image": _anthropic_image,
    "image_generation_call": _generated_image,
    "image_url": _image_url,
    "input_audio": _audio,
    "input_file": _responses_file,
    "input_image": _image_url,
    "input_video": _video,
    "video_url": _video,
}


def _image(source: Any, detail: Any = None) -> _Worth:
    """Measure an image. One whose size cannot be read counts as the largest."""
    text = source if isinstance(source, str) else ""
    is_named = not text or text.startswith(("http:", "https:"))
    begin = text.find(",") + 1 if text.startswith("data:") else 0
    size = None if is_named else image_size(Base64(text[begin:]))
    tiles = MOST_TILES if size is None else _tiles(*size)
    fair = IMAGE_TOKENS if detail == "low" else IMAGE_TOKENS + TILE_TOKENS * tiles
    taken = 0 if is_named else len(text)
    return _Worth(taken, fair, DEAREST_IMAGE_TOKENS + DEAREST_TILE_TOKENS * tiles)


def _tiles(width: int, height: int) -> int:
    longer, shorter = max(width, height, 1), max(min(width, height), 1)
    if longer > IMAGE_SIDE:
        longer, shorter = IMAGE_SIDE, max(shorter * IMAGE_SIDE // longer, 1)
    if shorter > SHORT_SIDE:
        longer, shorter = longer * SHORT_SIDE // shorter, SHORT_SIDE
    return min(-(-longer // TILE_SIDE) * -(-shorter // TILE_SIDE), MOST_TILES)


def _file(data: Any, name: str, media_type: str = "") -> _Worth:
    if not isinstance(data, str):
        return _Worth(0, NAMED_FILE_TOKENS, MOST_FILE_TOKENS)
    if data.startswith("data:"):
        media_type = data[5 : data.find(";")]
    if media_type.startswith("image/"):
        worth = _image(data)
        if _is_named_as_text(name):  # the provider decides which of the two it believes
            worth = worth._replace(bound=max(worth.bound, Base64(data).size))
        return worth
    size = Base64(data).size
    if _is_named_as_text(name) or media_type.startswith(_TEXT_TYPES):
        return _Worth(len(data), size // BYTES_PER_TOKEN, size)
    pages = size // PAGE_BYTES + 1
    return _Worth(len(data), pages * PAGE_TOKENS, max(len(data), pages * 2 * PAGE_TOKENS))


def _is_named_as_text(name: str) -> bool:
    return name.rpartition(".")[2].lower() in _TEXT_ENDINGS


def _fields(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
