"""Check what a request is beside its texts: tools it brings, their number and size, roles, and what cannot be
read."""

from __future__ import annotations

from collections.abc import Iterator

from responses_api.guardrails.spec import (
    DefinedTool,
    GuardrailFinding,
    GuardrailSpec,
    RequestContents,
)

# Kinds that read texts, and so depend on everything being readable.
READS_TEXTS = frozenset({"terms", "pattern", "pii", "secrets"})


def is_mandatory(spec: GuardrailSpec) -> bool:
    """Tell whether a call may not go on where the guardrail could not look."""
    return spec.action != "monitor" and spec.on_failure == "closed"


def check_opaque(spec: GuardrailSpec, contents: RequestContents) -> Iterator[GuardrailFinding]:
    """Find what cannot be read: items of types nobody knows, and with `opaque: refuse` all else, too."""
    if spec.kind not in READS_TEXTS:
        return
    refuses_all = spec.config.get("opaque") == "refuse"
    for opaque in contents.opaque:
        if refuses_all or (opaque.kind == "item" and is_mandatory(spec)):
            yield _finding(spec, f"opaque_{opaque.kind}", opaque.param, "input")


def check_limits(
    spec: GuardrailSpec, contents: RequestContents, tokens: int
) -> Iterator[GuardrailFinding]:
    """Find what exceeds the limits of an input; `tokens` is an estimate."""
    limits = spec.config
    for rule, count in (
        ("max_tokens", tokens),
        ("max_images", contents.images),
        ("max_files", contents.files),
    ):
        if rule in limits and count > limits[rule]:
            yield _finding(spec, rule, "input", "input", count)
    denied = frozenset(limits.get("denied_roles") or ())
    for role, param in contents.roles:
        if role in denied:
            yield _finding(spec, "denied_roles", param, "input")


def check_tools(spec: GuardrailSpec, contents: RequestContents) -> Iterator[GuardrailFinding]:
    """Find tools that a request may not bring."""
    for tool in contents.tools:
        if rule := denied_tool(spec, tool):
            yield _finding(spec, rule, tool.param, "tools")


def denied_tool(spec: GuardrailSpec, tool: DefinedTool) -> str:
    """Return the rule that denies a tool; empty if none does."""
    if tool.type in {"function", "custom"}:
        return _denied(spec, "functions", tool.name)
    if rule := _denied(spec, "types", tool.type):
        return rule
    return _denied(spec, "servers", tool.server) if tool.type == "mcp" else ""


def _denied(spec: GuardrailSpec, what: str, name: str) -> str:
    config = spec.config
    if name in (config.get(f"denied_{what}") or ()):
        return f"denied_{what}"
    allowed = config.get(f"allowed_{what}")
    return f"allowed_{what}" if allowed is not None and name not in allowed else ""


def _finding(
    spec: GuardrailSpec, rule: str, param: str, stage: str, count: int = 1
) -> GuardrailFinding:
    outcome = "monitored" if spec.action == "monitor" else "blocked"
    surface = "tool_definition" if stage == "tools" else "request"
    return GuardrailFinding(spec, rule, stage, surface, outcome, count, param=param)  # type: ignore[arg-type]
