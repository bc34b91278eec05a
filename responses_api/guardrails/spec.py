"""Define a guardrail as the engine works with it: one frozen value per row."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

Kind = Literal[
    "terms", "pattern", "pii", "secrets", "tools", "input_limits", "moderation", "webhook"
]
Stage = Literal["input", "output", "tools"]
Action = Literal["block", "mask", "monitor"]
# What a guardrail did. `skipped` and `unavailable` are outages, never findings.
Outcome = Literal["passed", "monitored", "masked", "blocked", "skipped", "unavailable"]

# The strongest comes first: it is what is told of a whole call.
STRONGEST: tuple[Outcome, ...] = (
    "unavailable", "blocked", "masked", "monitored", "skipped", "passed",
)  # fmt: skip
EXTERNAL: frozenset[Kind] = frozenset({"moderation", "webhook"})


class GuardrailSpec(Struct, frozen=True):
    """A guardrail of the platform, a tenant, an alias or a key.

    name         what clients, events and headers call it
    revision     counts the changes of its row, so that what was checked before can be told from what was not
    config       by kind (docs/guardrails.md), validated when the row is saved
    reversible   masks are numbered and put back into the answer
    on_failure   of an external check that cannot be asked: closed refuses the call, open lets it through
    parallel     an external check of the input runs beside the upstream call; nothing leaves before it
    """

    id: int
    name: str
    revision: int
    kind: Kind
    action: Action
    stages: frozenset[Stage]
    config: dict[str, Any]
    reversible: bool = False
    on_failure: Literal["closed", "open"] = "closed"
    timeout_ms: int = 2_000
    parallel: bool = False


class Detection(Struct, frozen=True):
    """A match in one text, in code points; `rule` says which of the guardrail's rules it was."""

    guardrail: str
    rule: str
    start: int
    end: int
    replacement: str = ""
