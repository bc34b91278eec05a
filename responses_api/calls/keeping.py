"""Define what keeps a finished answer, so that an equal request can be given it again."""

from __future__ import annotations

from typing import Protocol

from responses_api.calls.attempt import Attempt
from responses_api.enforcement.call import CallGuardrails


class AnswerKeeper(Protocol):
    """Keeps the answer of one call. `outcome` is what the ledger says of the cache."""

    outcome: str

    def keep(self, attempt: Attempt, guardrails: CallGuardrails | None) -> None:
        """Keep the answer of an attempt that ended well and was settled, if it is whole and was looked at by
        all that had to. Neither awaits nor raises."""
