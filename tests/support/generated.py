"""Make requests of an OpenAPI schema with schemathesis, and tell what it does not say of their answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from tests.plugins.tiers import SEED

Changed = Callable[[Any, int], None]
# How often it is begun again where schemathesis makes a wrong schema from which it cannot draw.
MOST_BEGINNINGS = 20


def cases_of(operation: Any, mode: Any, count: int, change: Changed) -> list[Any]:
    """Return random requests of one operation, each changed by what is given a random number with it.

    Named here alone is schemathesis imported: every process of a run collects tests, and one makes these.
    """
    from schemathesis import GenerationMode  # noqa: PLC0415
    from schemathesis.core.errors import UnsupportedSchema  # noqa: PLC0415

    made: list[Any] = []
    if mode is GenerationMode.NEGATIVE and _takes_any_text(operation):
        return made
    for beginning in range(MOST_BEGINNINGS):
        missing = count - len(made)
        if missing <= 0:
            return made
        try:
            _collect(operation.as_strategy(mode), missing, change, made, SEED + beginning)
        except UnsupportedSchema:
            continue  # it says so of some of its own changes, where a `not` is left to be fulfilled
        except Unsatisfiable:
            pass  # of some others no request is wrong either
        return made
    raise AssertionError(f"too few requests can be made of {operation.label}")


def _takes_any_text(operation: Any) -> bool:
    """Tell whether an operation asks for nothing but texts in its path, so that no request is wrong:
    schemathesis looks for one in vain for a second."""
    if any((operation.body, operation.query, operation.headers, operation.cookies)):
        return False
    asked = [each.definition.get("schema", {}) for each in operation.path_parameters]
    return all(
        each.get("type") == "string" and each.keys() <= {"type", "example"} for each in asked
    )


def _collect(
    cases: st.SearchStrategy[Any], count: int, change: Changed, made: list[Any], seed: int
) -> None:
    @hypothesis.seed(seed)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, chance=st.integers(0, 999))
    def collect(case: Any, chance: int) -> None:
        change(case, chance)
        made.append(case)

    collect()


def faults_of(case: Any, answer: Any, checks: Sequence[str]) -> list[str]:
    """Return what the schema does not say of the answer."""
    from schemathesis import checks as known  # noqa: PLC0415
    from schemathesis.core.failures import FailureGroup  # noqa: PLC0415

    try:
        case.validate_response(answer, checks=[getattr(known, name) for name in checks])
    except FailureGroup as group:
        asked = f"{case.method} {answer.request.url} {(answer.request.body or b'')[:300]!r}"
        return [f"{asked}: {answer.status_code} {why}" for why in group.exceptions]
    return []
