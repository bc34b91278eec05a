"""Define what may change an answer between its upstream's deltas and the Assembler."""

from __future__ import annotations

from typing import Protocol

from routing.protocols.shared.deltas import Delta


class OutputGate(Protocol):
    """Let deltas through, changed, held for a while, or not at all.

    has_content   something of the answer has come, though it may be held
    is_waiting    what is held needs a verdict that takes time
    is_blocked    the answer ends here; what is held is dropped
    """

    @property
    def has_content(self) -> bool: ...

    @property
    def is_waiting(self) -> bool: ...

    @property
    def is_blocked(self) -> bool: ...

    def take(self, deltas: list[Delta]) -> list[Delta]:
        """Take the upstream's deltas and return those that may go on. Of a long answer it may run in a
        thread."""

    def tell(self) -> None:
        """Report what was found since the last time; called in the event loop."""

    async def verdict(self) -> list[Delta]:
        """Ask for the verdict and return what may go on."""
