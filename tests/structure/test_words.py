"""Names and docstrings keep house rules: one name for one class, and docstrings that begin plainly."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.plugins.cases import cases

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

# Parsing everything takes seconds: only what these find is parsed. They find more than there is, never less.
CLASS = re.compile(r"^class (\w+)", re.MULTILINE)
NOUN_CLAUSE_FIRST = re.compile(
    r"""^[ \t]*[rRuU]?["']+(?:\s|\\\n)*(?:""" + "|".join(NOUN_CLAUSES) + r")\b", re.MULTILINE
)


@cache
def _sources() -> dict[str, str]:
    folders = (*PACKAGES, "bench", "tests")
    paths = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return {
        path.relative_to(ROOT).as_posix(): path.read_text()
        for path in sorted(paths)
        if "migrations" not in path.parts
    }


def parse(source: str) -> ast.Module:
    while True:
        try:
            return ast.parse(source)
        except (
            SystemError
        ):  # CPython 3.11: another thread (a traceback being written) parsed meanwhile
            continue


def test_no_two_product_classes_share_a_name() -> None:
    product = {
        path: source
        for path, source in _sources().items()
        if not path.startswith(("bench/", "tests/"))
    }
    written = Counter(name for source in product.values() for name in CLASS.findall(source))
    assert len(written) > 1_000
    repeated = {name for name, count in written.items() if count > 1} - ALLOWED
    places: dict[str, list[str]] = defaultdict(list)
    for path, source in product.items():
        if repeated.intersection(CLASS.findall(source)):
            for node in parse(source).body:
                if isinstance(node, ast.ClassDef):
                    places[node.name].append(path)
    shared = {name for name in repeated if len(places[name]) > 1}
    assert {name: places[name] for name in shared} == {}, "rename one of them"


def test_docstrings_begin_with_no_noun_clause() -> None:
    found = [
        f"{path}:{line} {first}"
        for path, source in _sources().items()
        if NOUN_CLAUSE_FIRST.search(source)
        for line, first in _first_words(parse(source))
        if first in NOUN_CLAUSES
    ]
    assert found == []


@cases(
    "docstring",
    [
        '"""When it rains."""',
        "'''When it rains.'''",
        'r"""When it rains."""',
        '"When it rains."',
        '"""\n    When it rains.\n    """',
        '"""\\\n    When it rains.\n    """',
    ],
)
def test_a_docstring_that_does_is_found(docstring: str) -> None:
    source = f"def some():\n    {docstring}\n"
    assert NOUN_CLAUSE_FIRST.search(source)
    assert [first for _, first in _first_words(parse(source))] == ["When"]


def _first_words(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, Documented) and (text := ast.get_docstring(node)):
            yield getattr(node, "lineno", 1), text.split()[0].rstrip(".,:;")
