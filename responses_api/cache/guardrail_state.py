"""Tell which guardrails look at a call, because an answer they let through is one of theirs alone."""

from __future__ import annotations

from responses_api.calls.admission import Admitted


def guardrail_revision(admitted: Admitted) -> str | None:
    """Return a text that changes with the guardrails that apply to a call; None where what they did makes
    its answer nobody else's."""
    return ""  # there are none yet
