"""Long commands tell on stderr how far they are."""

from __future__ import annotations

from io import StringIO

import pytest

from gateway_project.lib import clock
from gateway_project.lib.progress import ProgressLine, progress_for


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def a_second_passes_at_each_look(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(1000))
    monkeypatch.setattr(clock, "monotonic", lambda: next(seconds))


def test_a_terminal_has_one_line_that_is_written_over():
    terminal = Terminal()
    assert list(ProgressLine(terminal).over("ab", "rows", 2)) == ["a", "b"]
    assert terminal.getvalue() == "\r0 of 2 rows\r1 of 2 rows\r2 of 2 rows\n"


def test_a_file_has_a_line_each():
    file = StringIO()
    assert list(ProgressLine(file).over("ab", "rows")) == ["a", "b"]
    assert file.getvalue() == "0 rows\n1 rows\n2 rows\n"


def test_nobody_is_told_who_did_not_ask_and_does_not_look():
    file, terminal = StringIO(), Terminal()
    assert list(progress_for(file, None).over("ab", "rows")) == ["a", "b"]
    assert list(progress_for(terminal, False).over("ab", "rows")) == ["a", "b"]
    assert file.getvalue() + terminal.getvalue() == ""
