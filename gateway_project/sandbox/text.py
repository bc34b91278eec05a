"""Produce the sandbox's text: filler of a given size, splitting into deltas, and counting tokens."""

import re
from collections.abc import Iterator

from gateway_project.lib.tokens import BYTES_PER_TOKEN

FILLER = (
    "amber birch cedar delta ember flint grain hazel "
    "ivory jewel karst lemon maple north ocean pearl "
)
FILLER_WORD_BYTES = 6

_WORDISH = re.compile(r"\s*\S{1,24}|\s+")
_LONG_WORD = re.compile(r"[^\W\d_]{4,}")
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def filler(size_bytes: int) -> str:
    return (FILLER * (size_bytes // len(FILLER) + 1))[:size_bytes]


def tokens(text: str) -> int:
    """Count one token for every four bytes, at least one; none for no text."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def first_tokens(text: str, budget: int) -> str:
    return text.encode()[: budget * BYTES_PER_TOKEN].decode(errors="ignore")


def words(text: str) -> Iterator[str]:
    return (match.group() for match in _WORDISH.finditer(text))


def even(text: str, count: int) -> Iterator[str]:
    """Return exactly `count` pieces whose lengths differ by one at most."""
    step, longer = divmod(len(text), count)
    start = 0
    for number in range(count):
        end = start + step + (number < longer)
        yield text[start:end]
        start = end


def slices(text: str, size: int = 8) -> Iterator[str]:
    return (text[start : start + size] for start in range(0, len(text), size))


def clip(text: str, size: int) -> str:
    return text if len(text) <= size else text[:size] + "…"


def words_of_text(text: str) -> set[str]:
    """Return the words of a text that have four letters or more, in lower case."""
    return {word.lower() for word in _LONG_WORD.findall(text)}


def words_of_name(name: str) -> set[str]:
    """Return the words of a tool's name, which `_`, `-` or capitals separate."""
    return words_of_text(_CAPITAL.sub(" ", name))
