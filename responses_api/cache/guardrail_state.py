"""Tell which guardrails look at a call, because an answer they let through is one of theirs alone."""

from __future__ import annotations

from responses_api.calls.admission import Admitted


def guardrail_revision(admitted: Admitted) -> str | None:
    """Return a text that changes with the guardrails that apply to a call; None where what they did makes
    its answer nobody else's: masks that are put back into it, or a verdict that comes while it is made."""
    guarded = admitted.guarded
    if guarded is None:
        return ""
    guard = guarded.call.guard
    if guarded.beside is not None or (guard is not None and guard.masks):
        return None
    applied = guarded.guardrails.policy.applied
    return ",".join(sorted(f"{each.spec.id}.{each.spec.revision}" for each in applied))
