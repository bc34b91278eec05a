"""Modules can be read, tested and moved one at a time, because none needs another that needs it."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp

PACKAGES = ("gateway_project", "tenants", "routing", "responses_api")


def test_no_modules_import_each_other_in_a_circle_not_even_for_their_types():
    """import-linter looks for circles among folders too, but in two of the packages only."""
    known = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=False, cache_dir=None)
    graph = {name: known.find_modules_directly_imported_by(name) for name in known.modules}
    assert len(graph["responses_api.calls.exchange"]) > 5, "no imports were found"
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        message = f"{circle}: what these share belongs into a module below them"
        raise AssertionError(message) from None
