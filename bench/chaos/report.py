"""Render a run's outcome as text."""

from __future__ import annotations

from collections.abc import Iterator

from bench.chaos.run import Outcome, Plan

MOST_SHOWN = 20


def text(outcome: Outcome, plan: Plan, database: str) -> str:
    """Return the table, and beneath it whatever is wrong."""
    lines = [f"{name:<34} {value}" for name, value in _table(outcome, plan, database)]
    return "\n".join([*lines, *_wrong(outcome)]) + "\n"


def _table(outcome: Outcome, plan: Plan, database: str) -> Iterator[tuple[str, str]]:
    found, killed = outcome.findings, outcome.killed
    control = ", control: writes are buffered in memory" if plan.is_control else ""
    yield (
        "run",
        f"{plan.seconds:g} s, {database}, {plan.workers} workers, seed {plan.seed}{control}",
    )
    yield "kills (worker / ingester)", f"{killed['worker']} / {killed['ingester']}"
    if killed["database"]:
        yield "crashes of the database", f"{killed['database']}"
    yield "asked by clients", f"{outcome.kinds.total():,} ({_kinds(outcome)})"
    yield (
        "ends seen / cut / refused",
        (f"{outcome.ends:,} / {outcome.cuts:,} / {outcome.refusals.total():,}"),
    )
    yield "upstream calls / rows", f"{found.sent:,} / {found.rows:,}"
    yield "lost", f"{len(found.lost):,}"
    yield "duplicated", f"{len(found.duplicated):,}"
    yield "mispriced after a seen end", f"{len(found.mispriced):,} of {found.seen:,}"
    yield "abandoned", f"{found.abandoned:,} (and {found.never_sent:,} that were never sent)"
    yield (
        "most tokens an abandoned row lacks",
        (f"{found.gap_seen} of what its client received, {found.gap_sent} of what was sent"),
    )
    yield "Σ rows = Σ hours = Σ days", "yes" if outcome.sums_agree else f"NO: {outcome.sums}"
    yield (
        "budget: spent = Σ rows, held 0",
        ("yes" if outcome.budget_agrees else f"NO: {outcome.budget}, rows {outcome.sums['rows']}"),
    )
    if plan.budget_nano is not None:
        spent, unfunded = outcome.budget["spent_nano"], outcome.sums["rows"]["unfunded_nano"]
        yield "charged of the budget", f"{spent:,} of {plan.budget_nano:,} nano-dollars"
        yield "unfunded", f"{unfunded:,} nano-dollars"


def _kinds(outcome: Outcome) -> str:
    return ", ".join(f"{kind} {count:,}" for kind, count in sorted(outcome.kinds.items()))


def _wrong(outcome: Outcome) -> Iterator[str]:
    for refusal, count in outcome.refusals.most_common(MOST_SHOWN):
        yield f"refused {count} times: {refusal}"
    yield from (f"the books disagree: {difference}" for difference in outcome.differences)
    offenders = outcome.findings.offenders
    yield from offenders[:MOST_SHOWN]
    if len(offenders) > MOST_SHOWN:
        yield f"… and {len(offenders) - MOST_SHOWN} more"
