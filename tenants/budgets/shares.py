"""Decide how much of a budget one call may hold. Pure.

A call holds what it may cost at most: its input, and as many output tokens as its upstream is told it may
write. Most calls write far less, so a call that holds the maximum keeps others waiting. Therefore a call
is given a share of what is left: all it asks for while that is a small part, a long answer while nobody
waits, and a short one while others do.
"""

from __future__ import annotations

from msgspec import Struct

PICO_PER_NANO = 1000

# What a call asks for is given to it as a whole while so many could be given the same.
PLENTY = 8
# Output tokens of an answer that hardly anybody finds cut off, of a long one, and of one while others wait.
LONG_ANSWER = 16_384
USUAL_ANSWER = 4_096
SHORT_ANSWER = 1_024


class Need(Struct, frozen=True):
    """The possible cost of a call in nano-dollars: `fixed`, and `pico` pico-dollars for each output
    token.

    It may write `most` tokens, and cannot be made with fewer than `least`.
    """

    fixed: int
    pico: int = 0
    most: int = 0
    least: int = 0

    def nano(self, tokens: int) -> int:
        """Return what is to be held for this many tokens, rounded up."""
        return self.fixed - (-tokens * self.pico // PICO_PER_NANO)

    def tokens(self, nano: int) -> int:
        """Return how many tokens this pays for; negative if it does not even pay for the input."""
        if self.pico == 0:
            return self.most if nano >= self.fixed else -1
        return (nano - self.fixed) * PICO_PER_NANO // self.pico


def share(need: Need, left: int, waiting: int) -> int:
    """Return the tokens a call is to have with so much `left` and so many calls waiting.

    It may be more than what is left pays for, and then is worth waiting for.
    """
    if need.pico == 0:
        return need.most
    affordable = need.tokens(left)
    if need.most * PLENTY <= affordable:
        return need.most
    if waiting:
        wanted = max(affordable // (waiting + 1), SHORT_ANSWER)
    else:
        wanted = max(min(affordable // PLENTY, LONG_ANSWER), USUAL_ANSWER)
    return max(min(need.most, wanted), need.least)
