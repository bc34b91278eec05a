"""Collect tests without collecting garbage.

Modules, tests and fixtures stay until the run ends. They are frozen then, so that garbage is looked for among
what the tests make, and not among a quarter of a gigabyte that is none.
"""

from __future__ import annotations

import gc

import pytest

gc.disable()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    gc.enable()
