"""Set one answer apart from the next: its number, turned into a vendor's kind of ids."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stamp:
    """The identity of one answer. `base` is unique for each call of a server with its own seed."""

    base: str
    created: int
    model: str

    def id(self, prefix: str, number: int = 0) -> str:
        return f"{prefix}{self.base}{number:02x}"

    def sealed(self, number: int = 0) -> str:
        """Return an opaque payload, like encrypted reasoning or a thinking signature."""
        digest = hashlib.sha256(self.id("sealed", number).encode()).hexdigest()
        return f"gAAAAAB{digest}"


def base_of(seed: str, number: int) -> str:
    return f"{hashlib.sha256(seed.encode()).hexdigest()[:8]}{number:016x}"
