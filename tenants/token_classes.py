"""The classes tokens are counted, priced and billed in. Disjoint: no token stands in two.

No Django: protocol code counts in these (routing/protocols/shared/usage.py); the ledger keeps and prices
them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from msgspec import Struct

# In the order in which the ledger keeps them.
TOKEN_CLASSES = (
    "input_fresh",
    "input_audio",
    "cache_read",
    "cache_write",
    "cache_write_long",
    "output_visible",
    "output_audio",
    "output_reasoning",
)
INPUT_CLASSES = TOKEN_CLASSES[:5]
OUTPUT_CLASSES = TOKEN_CLASSES[5:]
# How much of units beside tokens, by their names (tenants/units.py).
Quantities: TypeAlias = tuple[tuple[str, int], ...]


class Usage(Struct, frozen=True):
    """Tokens per class. `anomaly`: the report is missing, cannot be read or contradicts itself.

    What is written into a cache costs by how long it is kept: `cache_write` for the vendor's usual time
    (Anthropic 5 minutes, OpenAI 30), `cache_write_long` for its longer one (1 hour, 12 hours).

    `units`: what is counted in other units, each named once, in the registry's order.
    """

    input_fresh: int = 0
    input_audio: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_long: int = 0
    output_visible: int = 0
    output_audio: int = 0
    output_reasoning: int = 0
    anomaly: bool = False
    units: Quantities = ()

    @classmethod
    def of(cls, counts: Iterable[int], *, anomaly: bool = False, units: Quantities = ()) -> Usage:
        """Build usage from counts in the order of TOKEN_CLASSES."""
        fresh, heard, read, written, kept, visible, spoken, thought = counts
        return cls(fresh, heard, read, written, kept, visible, spoken, thought, anomaly, units)

    @property
    def counts(self) -> tuple[int, ...]:
        """Return the counts in the order of TOKEN_CLASSES."""
        return (
            self.input_fresh,
            self.input_audio,
            self.cache_read,
            self.cache_write,
            self.cache_write_long,
            self.output_visible,
            self.output_audio,
            self.output_reasoning,
        )

    @property
    def input_total(self) -> int:
        # Every part by itself: this is asked several times a call.
        return (
            self.input_fresh
            + self.input_audio
            + self.cache_read
            + self.cache_write
            + self.cache_write_long
        )

    @property
    def cache_write_total(self) -> int:
        return self.cache_write + self.cache_write_long

    @property
    def total(self) -> int:
        return self.input_total + self.output_total

    @property
    def output_total(self) -> int:
        return self.output_visible + self.output_audio + self.output_reasoning
