"""Remember texts in which a scanner found nothing, so that a conversation is not searched anew each turn."""

from __future__ import annotations

from hashlib import blake2b

# A shorter one is searched faster than its digest is made.
LEAST_CHARACTERS = 256
MOST_TEXTS = 1024
_DIGEST_BYTES = 16


class CleanTexts:
    """The digests of texts in which one scanner found nothing; it never changes, so that they stay true. Of
    more than `MOST_TEXTS` the older ones are forgotten. Threads may use it at once."""

    __slots__ = ("_newer", "_older")

    def __init__(self) -> None:
        self._newer: set[bytes] = set()
        self._older: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def without(self, texts: list[str]) -> tuple[list[str], list[bytes]]:
        """Return the texts that are not known to be clean, and the digests to `add` if they are."""
        unknown: list[str] = []
        digests: list[bytes] = []
        for text in texts:
            if len(text) < LEAST_CHARACTERS:
                unknown.append(text)
                continue
            digest = _digest(text)
            if digest in self._newer:
                continue
            digests.append(digest)
            if digest not in self._older:
                unknown.append(text)
        return unknown, digests

    def add(self, digests: list[bytes]) -> None:
        for digest in digests:
            if len(self._newer) >= MOST_TEXTS:
                self._older, self._newer = self._newer, set()
            self._newer.add(digest)


def _digest(text: str) -> bytes:
    # A lone surrogate can be in JSON.
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()
