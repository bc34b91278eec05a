"""A file of configuration is plain YAML and bounded, whoever wrote it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from tenants.configuration import document, exporting
from tests.plugins.cases import cases

LAUGHS = "a: &a [x,x,x,x,x,x,x,x]\n" + "\n".join(
    f"{after}: &{after} [{','.join([f'*{before}'] * 8)}]"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = [
    (LAUGHS, "Anchors and aliases"),
    ("a: &a {b: *a}", "Anchors and aliases"),
    ("a: !!python/object/apply:os.system [id]", "Tags"),
    ("a: !!binary aGk=", "Tags"),
    ("a: " + "[" * 10_000, "levels"),
    ("\n".join(" " * n + "a:" for n in range(100)), "levels"),
    ("a: [" + "1," * 2_000 + "]", "values"),
    ("a: " + "x" * 1_000_001, "larger"),
    ("a: 1\na: 2", "given twice, the second time in line 2"),
    ("a: {b: 1, 'b': 2}", "given twice"),
    ("? [a]\n: 1", "a field's name is a text"),
    ("1: a", "a field's name is a text"),
    ("a: 1\n---\na: 2", "not YAML"),
    ("a: 'unclosed sk-secret", "not YAML: line 1"),
    ("a: \x07", "not YAML"),
    ('a: "\\0"', "null character"),
    ('a: "\\ud800"', "half of a character"),
    ("", "empty"),
    ("- a", "must be a mapping"),
    ("a", "must be a mapping"),
]


@cases(("text", "words"), HOSTILE, ids=[words for _, words in HOSTILE])
def test_hostile_files_are_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, text: str, words: str
):
    monkeypatch.setattr(document, "MOST_VALUES", 1_000)  # reading so many takes seconds
    with pytest.raises(ValidationError) as refused:
        document.read(text.encode())
    assert words in str(refused.value)
    assert "sk-secret" not in str(refused.value)


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(ValidationError, match="UTF-8"):
        document.read(b"a: \xff")


def test_values_are_those_of_json_and_numbers_keep_their_digits():
    text = """
        {a: no, b: 2030-01-01, c: 0123, d: 1_000, e: 12:30, f: "1", g: ~, h: true, i: -5, j: 0.10,
         k: 12345678901234567890123, l: 1.5e-7, '<<': {m: 1}}
    """
    assert document.read(text.encode()) == {
        "a": "no",
        "b": "2030-01-01",
        "c": "0123",
        "d": "1_000",
        "e": "12:30",
        "f": "1",
        "g": None,
        "h": True,
        "i": -5,
        "j": Decimal("0.10"),
        "k": "12345678901234567890123",
        "l": Decimal("1.5e-7"),
        "<<": {"m": 1},
    }
    assert str(document.read(b"a: 3.00")["a"]) == "3.00"


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
LEAVES = st.none() | st.booleans() | st.integers(-(10**18), 10**18) | TEXTS
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(VALUES | st.from_regex(r"[-+.0-9eE_:~]{1,8}", fullmatch=True))
def test_what_an_export_writes_is_read_as_it_was(value):
    assert document.read(f"a: {exporting.yaml_of(value)}".encode()) == {"a": value}
