"""Count the tokens of output that have gone by, as far as anybody can see them.

A provider's own report comes at the end, if at all; until then a stream is worth what was counted. Most
providers send a token per delta; where a delta holds more, four bytes are about a token (and a letter of a
script that needs three bytes is about one too).
"""

from __future__ import annotations

from gateway_project.lib.tokens import BYTES_PER_TOKEN

# Of long words in scripts whose letters take two or three bytes.
MOST_BYTES_PER_TOKEN = 12


class Tally:
    """Take the length of every delta's text."""

    __slots__ = ("deltas", "size")

    def __init__(self) -> None:
        self.deltas = 0
        self.size = 0

    def add(self, size: int) -> None:
        self.deltas += 1
        self.size += size

    def add_text(self, size: int) -> None:
        """Add text that came as a whole; none at all is no delta."""
        if size:
            self.add(size)

    @property
    def tokens(self) -> int:
        return max(self.deltas, self.size // BYTES_PER_TOKEN)

    @property
    def at_least(self) -> int:
        """Return how many tokens have surely gone by, at least."""
        return max(self.deltas, self.size // MOST_BYTES_PER_TOKEN)


def length_of_delta(data: bytes) -> int:
    """Measure the bytes of the `delta` text in a stream event, without parsing it; 0 where there is none.
    Exact but for texts that end in an escaped backslash, where it is a little more."""
    begin = data.rfind(b'"delta":"') + 9  # mostly near the end
    if begin == 8:  # not found: perhaps there is a space
        begin = data.find(b'"delta":')
        if begin < 0 or not (begin := data.find(b'"', begin + 8) + 1):
            return 0
    end = data.find(b'"', begin)
    while end > 0 and data[end - 1] == 0x5C:  # an escaped quote does not end the text
        end = data.find(b'"', end + 1)
    return max(end - begin, 0)
