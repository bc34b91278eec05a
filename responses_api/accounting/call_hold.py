"""Hold budget for one call, and tell how much output the held amount pays for."""

from __future__ import annotations

from tenants.budgets.holds import Hold
from tenants.prices.rating import PICO_PER_NANO

# Output that is held for at a time: few tokens, so that calls with a high limit do not hoard a budget.
STEP_TOKENS = 256


class CallHold:
    """The budget that one call holds. `reserved_input` is the share of the input in nano-dollars;
    `out_pico` is the price of the dearest output token in pico-dollars."""

    __slots__ = ("_hold", "_out_pico", "_reserved_input")

    def __init__(self, hold: Hold, reserved_input: int, out_pico: int) -> None:
        self._hold = hold
        self._reserved_input = reserved_input
        self._out_pico = out_pico

    @property
    def held(self) -> int | None:
        """Return the amount held in nano-dollars; None if no budget limits the call."""
        return self._hold.held

    @property
    def is_limited(self) -> bool:
        """Return whether a budget may end the call."""
        return self._hold.held is not None and self._out_pico > 0

    def covers(self, tokens: int) -> bool:
        """Return whether the hold pays for that much output, counting what can be held at once without
        awaiting."""
        missing = self._missing(tokens)
        if missing <= 0:
            return True
        return self._hold.extend_now(missing + self._step()) or self._hold.extend_now(missing)

    async def cover(self, tokens: int) -> bool:
        """Return whether the hold pays for that much output. Ask the database if necessary."""
        missing = self._missing(tokens)
        if missing <= 0 or await self._hold.extend(missing + self._step()):
            return True
        return await self._hold.extend(missing)

    async def extend_up_to(self, missing: int) -> None:
        """Hold up to `missing` more, as far as the budgets have it."""
        if not self._hold.extend_now(missing):
            await self._hold.extend_up_to(missing)

    def pay(self, nano: int) -> None:
        """Charge the final amount to the budgets and give back the rest of the hold."""
        self._hold.charge(nano)
        self._hold.release()

    def _missing(self, tokens: int) -> int:
        held = self._hold.held
        if held is None:
            return 0
        return self._reserved_input + nano(tokens * self._out_pico) - held

    def _step(self) -> int:
        return nano(STEP_TOKENS * self._out_pico)


def nano(pico: int) -> int:
    """Convert pico-dollars to nano-dollars, rounded up."""
    return -(-pico // PICO_PER_NANO)
