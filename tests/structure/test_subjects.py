"""Prove which tests of a subject a run takes."""

from __future__ import annotations

from tests.plugins.subjects import chosen

NAMES = [f"tests/test_x.py::test_y[{number}]" for number in range(5)]


def test_each_run_takes_as_many_of_a_subject_as_it_says_and_each_test_has_its_turn() -> None:
    for keep in (1, 2):
        taken = [chosen(seed, "takeovers", NAMES, keep) for seed in range(100)]
        assert {len(each) for each in taken} == {keep}
        assert set().union(*taken) == set(NAMES)
    assert chosen(1, "takeovers", NAMES, 9) == set(NAMES)
    assert chosen(1, "takeovers", NAMES[::-1], 2) == chosen(1, "takeovers", NAMES, 2)
