"""Find which functions of the project a function leads to, by the names its code has."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

ROOTS = ("tenants", "routing", "responses_api", "gateway_project")


def names_in(code: CodeType) -> frozenset[str]:
    """Return the names that a function's code uses, functions within it included."""
    within = (names_in(const) for const in code.co_consts if isinstance(const, CodeType))
    return frozenset(code.co_names).union(*within)


def plain(found: Any) -> FunctionType | None:
    """Return the function of the project behind decorators and bindings; None for anything else."""
    if isinstance(found, classmethod | staticmethod):
        found = found.__func__
    if not callable(found):
        return None
    found = inspect.unwrap(found)
    found = getattr(found, "__func__", found)
    is_ours = isinstance(found, FunctionType) and found.__module__.split(".")[0] in ROOTS
    return found if is_ours else None


@cache  # most functions are reached from many others
def called(function: FunctionType, owner: type | None = None) -> frozenset[FunctionType]:
    """Return what a function may call: those it names, alone or in a module, and methods of `owner`."""
    if owner is None:
        return frozenset(_named(function))
    names = names_in(function.__code__)
    methods = (plain(inspect.getattr_static(owner, name, None)) for name in names)
    return called(function).union(filter(None, methods))


def _named(function: FunctionType) -> Iterator[FunctionType]:
    names = names_in(function.__code__)
    for name in names:
        known = function.__globals__.get(name)
        if isinstance(known, ModuleType):
            members = (getattr(known, each, None) for each in names)
            yield from filter(None, map(plain, members))
        elif (found := plain(known)) is not None:
            yield found


def reached(function: FunctionType, owner: type | None = None) -> set[FunctionType]:
    """Return all that a function leads to, itself included. Methods are followed in `owner` alone."""
    found: set[FunctionType] = set()
    ahead = [function]
    while ahead:
        here = ahead.pop()
        if here not in found:
            found.add(here)
            ahead += called(here, owner)
    return found
