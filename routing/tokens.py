"""Count the tokens of a request: a bound that costs next to nothing, and an estimate.

The estimate counts with o200k_base, the tokenizer of OpenAI's models since GPT-4o, whatever the model. Others
mostly make more tokens of the same text, so what is too long by this count is too long. The tokenizer's data
is part of its package; it is loaded at the first count (half a second, once a process), never at start-up.

What is not text has a flat allowance, because its size in pixels or pages is unknown here:

    image       765 tokens, a square of 1024 pixels in high detail, or 85 in low detail
                (https://platform.openai.com/docs/guides/images-vision#calculating-costs)
    file        1,500 tokens, a page of a PDF; text has a token for four bytes
                (https://platform.claude.com/docs/en/build-with-claude/pdf-support)
    each item   3 tokens around it, and 3 that begin the answer
                (https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken)

Sealed reasoning counts nothing: it is left out where vendors change, and its vendor drops it after the turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from gateway_project.lib.json import Json, dumps
from routing.protocols.shared.conversation import (
    CALLS,
    LEFT_OUT,
    OUTPUTS,
    instructions,
    kind_of,
    parts,
    text_of,
)
from routing.protocols.shared.tools import TOOL_ITEMS

ENCODING = "o200k_base"
ITEM_TOKENS = 3
ANSWER_TOKENS = 3
IMAGE_TOKENS = 765
SMALL_IMAGE_TOKENS = 85
FILE_TOKENS = 1500
# Texts go to the tokenizer in pieces of about this many characters: large enough that the call costs
# nothing beside its work, small enough to stop soon after enough was counted.
PIECE = 64 * 1024
_TEXTS = frozenset({"input_text", "output_text", "summary_text", "reasoning_text", "text"})
_OPAQUE = LEFT_OUT | {"compaction", "compaction_trigger"}


class Load(NamedTuple):
    """An item's contribution: text to count, and tokens for what is not text."""

    text: str
    allowance: int


def count(text: str | bytes, enough: int | None = None) -> int:
    """Count the tokens of a text; names of special tokens in it are text like any other.

    Counting stops when there are more than `enough`.
    """
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    total = 0
    for start in range(0, len(text), PIECE):
        total += _counts([text[start : start + PIECE]])[0]
        if enough is not None and total > enough:
            break
    return total


def at_most(canonical: Json) -> int:
    """Return an upper bound for any tokenizer: each token holds at least one byte."""
    loads = [_frame(canonical), *map(_load, canonical["input"])]
    return sum(_size(load.text) + load.allowance for load in loads)


def of_request(canonical: Json) -> int:
    """Estimate a whole request in canonical form. Raise BadRequest for JSON that is too deep."""
    return of_frame(canonical) + sum(of_items(canonical["input"]))


def of_frame(canonical: Json) -> int:
    """Estimate everything but the items: instructions, tools and the answer's schema."""
    text, allowance = _frame(canonical)
    return count(text) + allowance


def of_item(item: Json) -> int:
    """Estimate one item."""
    return next(of_items([item]))


def of_items(items: Iterable[Json], enough: int | None = None) -> Iterator[int]:
    """Estimate each item in turn, lazily; counts above `enough` need not be exact."""
    return _of_loads(map(_load, items), enough)


def exceeds(canonical: Json, limit: int) -> bool:
    """Tell whether the text alone, without any allowance, has more tokens than `limit`."""
    left = limit - count(_frame(canonical).text, limit)
    loads = (Load(_load(item).text, 0) for item in canonical["input"])
    for tokens in _of_loads(loads, limit):
        if left < 0:
            break
        left -= tokens
    return left < 0


def _of_loads(loads: Iterable[Load], enough: int | None) -> Iterator[int]:
    waiting: list[Load] = []
    size = 0
    for load in loads:
        if len(load.text) > PIECE:
            yield from _count_loads(waiting)
            yield count(load.text, enough) + load.allowance
            waiting, size = [], 0
            continue
        waiting.append(load)
        size += len(load.text)
        if size > PIECE:
            yield from _count_loads(waiting)
            waiting, size = [], 0
    yield from _count_loads(waiting)


def _count_loads(loads: list[Load]) -> Iterator[int]:
    if not loads:
        return
    counts = _counts([load.text for load in loads])
    for load, tokens in zip(loads, counts, strict=True):
        yield tokens + load.allowance


def _counts(texts: list[str]) -> list[int]:
    import toktok  # type: ignore[import-untyped]  # noqa: PLC0415 - has no types; loaded when needed

    try:
        counts: list[int] = toktok.batch_count(texts, ENCODING, threads=1)
    except UnicodeEncodeError:  # half a surrogate pair, which JSON cannot hold but Python can
        whole = [text.encode(errors="replace").decode() for text in texts]
        counts = toktok.batch_count(whole, ENCODING, threads=1)
    return counts


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


# What of a request is text


def _frame(canonical: Json) -> Load:
    form = canonical.get("text")
    schema = form.get("format") if isinstance(form, dict) else None
    given = [instructions(canonical)]
    given += [_to_json(part) for part in (canonical.get("tools"), schema) if part]
    text = "\n".join(filter(None, given))
    return Load(text, ANSWER_TOKENS + (ITEM_TOKENS if text else 0))


def _load(item: Json) -> Load:
    kind = kind_of(item)
    if kind == "message":
        return _of_content(item.get("content"))
    if kind in CALLS:
        given = item.get("arguments") or item.get("input")
        return Load(f"{item.get('name')}\n{_written(given)}", ITEM_TOKENS)
    if kind in OUTPUTS:
        content = item.get("output")
        is_said = isinstance(content, str | list)
        return _of_content(content) if is_said else Load(_written(content), ITEM_TOKENS)
    if kind == "reasoning":
        return Load(text_of(item.get("content")) or text_of(item.get("summary")), 0)
    if kind in TOOL_ITEMS:
        return Load(_to_json(item.get("tools") or []), 0)
    return Load("", 0) if kind in _OPAQUE else Load(_to_json(item), ITEM_TOKENS)


def _of_content(content: Any) -> Load:
    texts: list[str] = []
    allowance = ITEM_TOKENS
    for part in parts(content):
        kind = part.get("type")
        if kind in _TEXTS or kind == "refusal":
            said = part.get("text", part.get("refusal"))
            texts.append(said if isinstance(said, str) else "")
        elif kind == "input_image":
            allowance += SMALL_IMAGE_TOKENS if part.get("detail") == "low" else IMAGE_TOKENS
        else:
            allowance += _of_file(part)
    return Load("\n".join(texts), allowance)


def _of_file(part: Json) -> int:
    """Estimate a text file: base64 is four characters for three bytes, a token about four bytes."""
    given = part.get("file_data")
    is_text = isinstance(given, str) and given[:17].startswith(
        ("data:text/", "data:application/json")
    )
    return len(given) * 3 // 16 if is_text and isinstance(given, str) else FILE_TOKENS


def _written(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return _to_json(value)


def _to_json(value: Any) -> str:
    return dumps(value).decode()
