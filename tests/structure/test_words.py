"""Names and docstrings keep house rules: one name for one class, and docstrings that begin plainly."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("gateway_project", "tenants", "routing", "responses_api")
# Commands are found by Django under this very name.
ALLOWED = {"Command"}
NOUN_CLAUSES = {
    *("As", "How", "If", "It", "That", "Those", "What", "When", "Where", "Whether", "Which", "Who"),
    *("Whom", "Whose", "Why"),
    # Nor with what only goes on from the name.
    *(
        "Also",
        "And",
        "Because",
        "By",
        "Nor",
        "Of",
        "Theirs",
        "Until",
        "While",
        "Whoever",
        "Without",
    ),
}

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@cache
def _trees() -> dict[str, ast.Module]:
    folders = (*PACKAGES, "bench", "tests")
    paths = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return {
        path.relative_to(ROOT).as_posix(): parse(path)
        for path in sorted(paths)
        if "migrations" not in path.parts
    }


def parse(path: Path) -> ast.Module:
    while True:
        try:
            return ast.parse(path.read_text())
        except (
            SystemError
        ):  # CPython 3.11: another thread (a traceback being written) parsed meanwhile
            continue


def test_no_two_product_classes_share_a_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path, tree in _trees().items():
        if not path.startswith(("bench/", "tests/")):
            for node in tree.body:
                if isinstance(node, ast.ClassDef):
                    places[node.name].append(path)
    shared = {name for name, found in places.items() if len(found) > 1} - ALLOWED
    assert {name: places[name] for name in shared} == {}, "rename one of them"


def test_docstrings_begin_with_no_noun_clause() -> None:
    found = [
        f"{path}:{line} {first}"
        for path, tree in _trees().items()
        for line, first in _first_words(tree)
        if first in NOUN_CLAUSES
    ]
    assert found == []


def _first_words(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, Documented) and (text := ast.get_docstring(node)):
            yield getattr(node, "lineno", 1), text.split()[0].rstrip(".,:;")
