"""Tests look at the product from outside: they read no private state of objects that they did not make.

A test that needs to see more asks the product for a small public property, or passes it a part of its own.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.plugins.cases import cases
from tests.structure.test_words import parse

ROOT = Path(__file__).resolve().parents[2]

# Public by their own documentation, whatever they are called.
NOT_OURS = {
    *("_replace", "_asdict", "_fields"),  # of named tuples
    *("_meta", "_default_manager", "_raw_delete", "_registry", "_state", "_wrapped"),  # Django
    *("_fixture_teardown", "_should_reload_connections"),  # what its test cases may do otherwise
    "_exit",  # os
    "_request_id",  # the OpenAI SDK
    *("_rewrite_test", "_write_pyc"),  # pytest
}
# What else is read: of other libraries (support/tls.py, budgets/bank.py, lib/test_rounds.py), and where tests
# count, delay or break one step in the middle of the product. Shorten this list; do not add to it.
KNOWN: dict[str, set[str]] = {
    "lib/test_lib.py": {"_absent", "_loading"},
    "lib/test_rounds.py": {"_run"},
    "responses_api/accounting/test_order.py": {"_store_answer"},
    "responses_api/background/test_follow.py": {"_look", "_states"},
    "responses_api/background/test_runs.py": {"_UNATTENDED"},
    "responses_api/storage/test_retention.py": {"_pragma"},
    "responses_api/storage/test_unread_answers.py": {"_piece", "_read"},
    "responses_api/stream/test_relay_exactness.py": {"_ending", "_parse", "_patterns_left"},
    "responses_api/test_every_answer.py": {"_full_at"},
    "responses_api/webhooks/test_webhooks.py": {"_certificates"},
    "routing/test_truncation.py": {"_counts"},
    "support/tls.py": {"_transports"},
    "tenants/budgets/bank.py": {"_get_running_loop", "_set_running_loop"},
    "tenants/budgets/test_alerts.py": {"_message"},
    "tenants/ledger/test_archive.py": {"_stop", "_tidy"},
    "tenants/ledger/test_lost_commits.py": {"_name"},
    "tenants/ledger/test_partitions.py": {"_bound", "_check", "_newest"},
    "tenants/limits/test_shared.py": {"_LEASE", "_pool", "_tasks", "_waiting"},
}

# Parsing everything takes seconds: only what has an attribute of others, an import or a patched name like it
# is parsed. This finds more than there is, never less.
POSSIBLY_PRIVATE = re.compile(
    r"""\.(?<!(?<![.\w])self\.)(?<!(?<![.\w])cls\.)\s*_[a-zA-Z0-9]  # an attribute
    |\bimport[ ]+(?:\([^)]*?|[^(\n]*?)\b_[a-zA-Z0-9]  # an import
    |(?:setattr|object)\([^#]*?["'](?:[\w.]*\.)?_[a-zA-Z0-9]  # a name that is patched
    """,
    re.VERBOSE,
)


@cases(
    "read",
    [
        *("a._b", "self.a._b", "a.self._b", "f()._b", "a.\n    _b"),
        *("import _a", "from a import (\n    b,\n    _c,\n)"),
        *('patch.setattr(a.b, "_c", d)', 'mock.patch.object(a, "b._c")'),
    ],
)
def test_each_way_to_read_it_is_looked_at(read: str) -> None:
    assert POSSIBLY_PRIVATE.search(f"def test_some():\n    {read}\n")


def test_tests_read_no_private_state() -> None:
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        source = path.read_text()
        if not POSSIBLY_PRIVATE.search(source):
            continue
        tree = parse(source)
        names = {name for name in _private(tree) if name not in NOT_OURS} - _defined(tree)
        if names:
            found[path.relative_to(ROOT / "tests").as_posix()] = names
    assert found == KNOWN


def _private(tree: ast.Module) -> Iterator[str]:
    """Yield the private names of other objects that a module reads, sets, patches or imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr):
            if not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}):
                yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (each.name for each in node.names if _is_private(each.name))
        elif isinstance(node, ast.Call) and _patches(node.func):
            values = (each.value for each in node.args if isinstance(each, ast.Constant))
            names = (value.split(".")[-1] for value in values if isinstance(value, str))
            yield from filter(_is_private, names)


def _patches(called: ast.expr) -> bool:
    """Tell whether it is some `setattr` or `patch.object`; only what may be is written out again."""
    if isinstance(called, ast.Name):
        return called.id.endswith("setattr")
    if not isinstance(called, ast.Attribute) or not called.attr.endswith(("setattr", "object")):
        return False
    return ast.unparse(called).endswith(("setattr", "patch.object"))


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and len(name) > 1


def _defined(tree: ast.Module) -> set[str]:
    """Return the names that a module gives to its own functions, classes and attributes."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id == "self":
                names.add(node.attr)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names
