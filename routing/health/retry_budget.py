"""Bound how many second attempts a provider is asked for, so that retries do not bring it down for good."""

from __future__ import annotations

EARNED = 0.1
MOST = 20.0
MAX_PROVIDERS = 10_000


class RetryBudget:
    """The second attempts that each provider may be asked for by this process: one for ten calls."""

    def __init__(self) -> None:
        self._left: dict[tuple[int, str], float] = {}

    def earn(self, provider: tuple[int, str]) -> None:
        """Note a first attempt at a provider."""
        left = self._left.get(provider)
        if left is not None:  # as long as it is full, nothing is kept of it
            left += EARNED
            if left >= MOST:
                del self._left[provider]
            else:
                self._left[provider] = left

    def spend(self, provider: tuple[int, str]) -> bool:
        """Take a second attempt, if there is one left."""
        left = self._left.get(provider, MOST)
        if left < 1.0:
            return False
        if provider not in self._left and len(self._left) >= MAX_PROVIDERS:
            self._left.pop(next(iter(self._left)))
        self._left[provider] = left - 1.0
        return True
