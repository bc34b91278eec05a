"""How much of a budget one call may hold. Pure.

A call holds what it may cost at most: its input, and as many output tokens as its upstream is told that it
may write. Most calls write far less, so that who holds all that they might write keeps others waiting.
Therefore a call is given a share of what is left: all it asks for while that is little of it, a long answer
while nobody waits, and a short one while others do.
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
    """What a call may cost, in nano-dollars: `fixed`, and for each output token `pico` pico-dollars. It may
    write `most` tokens, and with fewer than `least` it cannot be made."""

    fixed: int
    pico: int = 0
    most: int = 0
    least: int = 0

    def nano(self, tokens: int) -> int:
        """What is to be held for so many tokens, rounded up."""
        return self.fixed - (-tokens * self.pico // PICO_PER_NANO)

    def tokens(self, nano: int) -> int:
        """As many tokens as this pays for; fewer than none where it does not pay for the input."""
        if self.pico == 0:
            return self.most if nano >= self.fixed else -1
        return (nano - self.fixed) * PICO_PER_NANO // self.pico


def share(need: Need, left: int, waiting: int) -> int:
    """The tokens a call is to have where so much is `left` and so many calls wait; it may be more than is
    left pays for, and then is worth waiting for."""
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
