"""One test, many cases: a loop inside a test instead of an item for each case.

`@cases` is written like `pytest.mark.parametrize`, and stacks like it:

    @cases("step", [None, 3])
    @cases("recorded", streams)
    def test_…(recorded, step): …

An item of pytest costs milliseconds, with a gateway thirty; a turn of a loop costs nothing. The values may be
a function that returns them: it is called when the test runs, so that collecting reads no files. Every case
runs, and each that fails is named. `--case TEXT` runs only the cases with this text in their name. Of a test
with a gateway a third of the cases run on PostgreSQL, as of parameters one does (`parameters.py`).

Fixtures are set up once for all cases of a test. What has a method `between_cases` is made fresh by it: a
gateway forgets what it knows, and rows of the same name replace each other (`tests/support/rows.py`).
"""

from __future__ import annotations

import functools
import inspect
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from tests.plugins.tiers import IS_BESIDE_SQLITE, SEED, by_tier, sampled

chosen_text: str | None = None


@dataclass(frozen=True, slots=True)
class Value:
    """One value of an axis: what it is called, and the arguments it stands for."""

    name: str
    arguments: dict[str, Any]


Values = Iterable[Any] | Callable[[], Iterable[Any]]
Axis = Callable[[], Sequence[Value]]
Case = tuple[Value, ...]


Ids = Iterable[str] | Callable[[Any], object] | None


def cases(names: str | tuple[str, ...], values: Values, ids: Ids = None) -> Any:
    """Run the test below once for each of the values, in one item."""
    named = tuple(name.strip() for name in names.split(",")) if isinstance(names, str) else names
    word = ids if callable(ids) else _word
    given = list(ids) if ids is not None and not callable(ids) else None

    def axis() -> list[Value]:
        found = list(values() if callable(values) else values)
        return [
            _value(named, each, given[number] if given else None, word)
            for number, each in enumerate(found)
        ]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        return _loop(function, named, axis)

    return decorate


def each_value(function: Any) -> Any:
    """Let CI take fewer cases, in which each value of each axis still comes, the default a third of those,
    and the proof all."""
    function.reduce = by_tier(
        default=a_third, ci=functools.partial(covering, together=1), proof=list
    )
    return function


def each_pair(function: Any) -> Any:
    """Let CI take fewer cases, in which each two values of different axes still meet, the default a third of
    those in which each value of each axis comes, and the proof all."""
    function.reduce = by_tier(
        default=a_third, ci=functools.partial(covering, together=2), proof=list
    )
    return function


def sample(*, default: int, ci: int) -> Callable[[Any], Any]:
    """Let a run take so many of the cases, chosen by its seed; the proof takes all."""

    def decorate(function: Any) -> Any:
        function.reduce = functools.partial(sampled, default=default, ci=ci)
        return function

    return decorate


def a_third(every: Sequence[Case]) -> list[Case]:
    """Choose every third, at least two, of the cases in which each value of each axis comes."""
    found = covering(every, together=1)
    return found[: max(2, len(found) // 3)]


def covering(every: Sequence[Case], together: int) -> list[Case]:
    """Choose cases until whatever values stand together in any case do so in a chosen one."""
    ordered = list(every)
    random.Random(SEED).shuffle(ordered)
    missing = {met for case in ordered for met in _met(case, together)}
    chosen = []
    while missing:
        best = max(ordered, key=lambda case: len(missing.intersection(_met(case, together))))
        missing.difference_update(_met(best, together))
        chosen.append(best)
    return chosen


def _met(case: Case, together: int) -> set[Any]:
    return set(itertools.combinations(enumerate(value.name for value in case), together))


def _value(
    names: tuple[str, ...], each: Any, name: str | None, word: Callable[[Any], object]
) -> Value:
    if isinstance(each, ParameterSet):
        assert not each.marks, "cases of one test cannot have marks of their own"
        name = name or (each.id if isinstance(each.id, str) else None)
        values = each.values
    else:
        values = (each,) if len(names) == 1 else tuple(each)
    assert len(values) == len(names), (names, values)
    words = name or "-".join(str(word(value)) for value in values)
    return Value(words, dict(zip(names, values, strict=True)))


def _word(value: Any) -> str:
    text = getattr(value, "__name__", None) or str(value)
    return text if len(text) <= 60 else text[:60] + "…"


def _loop(function: Any, names: tuple[str, ...], axis: Axis) -> Callable[..., Any]:
    """Wrap a test function, or one that is wrapped already: then the axis is added to its others."""
    test = getattr(function, "looped", function)
    axes = [axis, *getattr(function, "axes", [])]
    signature = inspect.signature(function)
    assert set(names) <= set(signature.parameters), f"{test.__name__} does not take {names}"
    takes_request = "request" in inspect.signature(test).parameters

    if inspect.iscoroutinefunction(test):

        @functools.wraps(test)
        async def run(request: pytest.FixtureRequest, **fixtures: Any) -> None:
            fixtures = {**fixtures, **({"request": request} if takes_request else {})}
            failures = Failures()
            for case, arguments in _selected(run, axes, request.fixturenames):
                failures.renew(request)
                with failures.of(case):
                    await test(**fixtures, **arguments)
            failures.tell()
    else:

        @functools.wraps(test)
        def run(request: pytest.FixtureRequest, **fixtures: Any) -> None:
            fixtures = {**fixtures, **({"request": request} if takes_request else {})}
            failures = Failures()
            for case, arguments in _selected(run, axes, request.fixturenames):
                failures.renew(request)
                with failures.of(case):
                    test(**fixtures, **arguments)
            failures.tell()

    kept = [each for name, each in signature.parameters.items() if name not in names]
    if "request" not in signature.parameters:
        kept.insert(0, inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD))
    run.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    run.looped, run.axes = test, axes  # type: ignore[attr-defined]
    run.reduce = getattr(function, "reduce", list)  # type: ignore[attr-defined]
    return run


def _selected(
    run: Any, axes: list[Axis], fixtures: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    every = list(itertools.product(*(axis() for axis in axes)))
    assert every, "there is no case to run"
    is_reduced = run.reduce is list and IS_BESIDE_SQLITE and "gateway" in fixtures
    reduce = a_third if is_reduced else run.reduce
    named = [("-".join(value.name for value in case), case) for case in reduce(every)]
    if chosen_text is not None:
        everyone = [("-".join(value.name for value in case), case) for case in every]
        named = [(name, case) for name, case in everyone if chosen_text in name]
        if not named:
            pytest.skip(f"no case has {chosen_text!r} in its name")
    for name, case in named:
        yield name, {key: held for value in case for key, held in value.arguments.items()}


def _nothing() -> None:
    pass


class Failures:
    """Count the cases of a test, and collect those that failed."""

    def __init__(self) -> None:
        self.count = 0
        self.errors: list[Exception] = []

    def renew(self, request: pytest.FixtureRequest) -> None:
        """Make fresh what the cases share, before each but the first; the gateway before what changes it."""
        if self.count:
            for name in sorted(request.fixturenames, key=lambda name: name != "gateway"):
                if name != "request":
                    fixture = request.getfixturevalue(name)
                    getattr(fixture, "between_cases", _nothing)()

    def of(self, case: str) -> Failures:
        self.count += 1
        self.case = case
        return self

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is None:
            return False
        error.add_note(f"case: {self.case}")
        if isinstance(error, pytest.skip.Exception):
            raise AssertionError(f"the case {self.case} skips, which would hide the others")
        if isinstance(error, pytest.fail.Exception):
            error = AssertionError(str(error))
            error.add_note(f"case: {self.case}")
        if not isinstance(error, Exception):
            return False
        self.errors.append(error)
        return True

    def tell(self) -> None:
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            raise ExceptionGroup(f"{len(self.errors)} of {self.count} cases failed", self.errors)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--case",
        default=None,
        metavar="TEXT",
        help="of tests that loop over cases, run only those with this text in their name",
    )


def pytest_configure(config: pytest.Config) -> None:
    global chosen_text  # noqa: PLW0603 - an option of the whole run
    chosen_text = config.getoption("--case")
