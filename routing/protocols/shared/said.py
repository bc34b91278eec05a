"""Note what an upstream says of its answer: id, the model that gave it, and why it ended. Traces tell it."""

from __future__ import annotations

from gateway_project.lib.json import Json

ID, MODEL, REASONS = "id", "model", "finish_reasons"
MOST_CHARACTERS = 200
MOST_REASONS = 8


def note_answer(facts: Json, answer: Json) -> None:
    """Note id and model, as they are told first."""
    for name in (ID, MODEL):
        if name not in facts and isinstance(value := answer.get(name), str) and value:
            facts[name] = value[:MOST_CHARACTERS]


def note_reason(facts: Json, reason: object) -> None:
    """Note why the answer, or one of its choices, ended; each reason once."""
    if not isinstance(reason, str) or not reason:
        return
    reasons = facts.setdefault(REASONS, [])
    if reason not in reasons and len(reasons) < MOST_REASONS:
        reasons.append(reason[:MOST_CHARACTERS])


def note_response(facts: Json, response: Json) -> None:
    """Note id and model of a Response that has ended; its reason is its status, or what it lacks."""
    note_answer(facts, response)
    details = response.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    note_reason(facts, reason or response.get("status"))
