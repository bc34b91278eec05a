"""Define a guardrail as the engine works with it: one frozen value per row."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from msgspec import Struct

from gateway_project.lib.secret import Secret

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
# What ends a call: a finding, or that nobody could look for one.
ENDING: frozenset[Outcome] = frozenset({"blocked", "unavailable"})
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


class RequestSegment(Struct, frozen=True):
    """A text of a request: what kind of thing it is (`surface`), whose it is, and the client's field."""

    surface: str
    role: str
    param: str
    text: str


class UnreadableContent(Struct, frozen=True):
    """Something of a request that cannot be read: `kind` is `encrypted`, `file`, `image`, `audio` or
    `item`, which is an item of a type nobody knows."""

    kind: Literal["encrypted", "file", "image", "audio", "item"]
    type: str
    param: str


class DefinedTool(Struct, frozen=True):
    """A tool that a request brings: its type, its name, and for MCP its server."""

    type: str
    name: str
    server: str
    param: str


class RequestContents(Struct, frozen=True):
    """Everything of a request that guardrails look at, as a door reads it (`Door.contents`)."""

    segments: tuple[RequestSegment, ...]
    tools: tuple[DefinedTool, ...] = ()
    opaque: tuple[UnreadableContent, ...] = ()
    roles: tuple[tuple[str, str], ...] = ()
    images: int = 0
    files: int = 0


class GuardrailFinding(Struct, frozen=True):
    """One rule's matches in one place, to be recorded: how often, and where first. `value` is the first
    text it found, only there to be made a HMAC of; `param` is the client's field, of an input."""

    guardrail: GuardrailSpec
    rule: str
    stage: Stage
    surface: str
    outcome: Outcome
    count: int = 1
    start: int = 0
    length: int = 0
    value: Secret = Secret("")
    param: str = ""


class OutputVerdict(Struct, frozen=True):
    """The word of external checks on an output.

    findings   are recorded; a blocked one ends the answer, an unavailable one makes it fail
    texts      the segments as they may go on; None: as they are
    """

    findings: tuple[GuardrailFinding, ...] = ()
    texts: tuple[str, ...] | None = None

    @property
    def blocks(self) -> bool:
        return any(finding.outcome in ENDING for finding in self.findings)


class OutputSegment(Struct, frozen=True):
    """A text of an answer that awaits its verdict. Its first `seen` code points were let go before, and are
    there for what they have in common with the rest: they stay as they are."""

    surface: str
    text: str
    seen: int = 0


class OutputJudge(Protocol):
    """Ask the external checks of a call about its output. Made per call by whoever knows the services.

    holds_all   True: one question, once everything is there; False: every 1,000 characters
    """

    holds_all: bool

    async def judge(self, segments: tuple[OutputSegment, ...], *, is_last: bool) -> OutputVerdict:
        """Return the verdict. Never raise: an outage is a finding, `skipped` or `unavailable`."""


class Reporter(Protocol):
    """Take what was found in the output of a call, while it flows."""

    def __call__(self, finding: GuardrailFinding, /) -> None: ...
