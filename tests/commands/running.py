"""Running commands, within the test's database or as a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.support import warm
from tests.support.patience import GIVE_UP_SECONDS


def text(*arguments: str) -> str:
    """Return what a command prints for a person."""
    stdout = StringIO()
    call_command(*arguments, stdout=stdout)
    return stdout.getvalue()


def answer(*arguments: str) -> dict[str, Any]:
    """The one JSON object a command prints."""
    found = json.loads(text(*arguments, "--json"))
    assert isinstance(found, dict)
    return found


def failed_answer(*arguments: str) -> dict[str, Any]:
    """The one JSON object that a command prints which ends with exit code 1."""
    stdout = StringIO()
    with pytest.raises(SystemExit) as exit_of_command:
        call_command(*arguments, "--json", stdout=stdout)
    assert exit_of_command.value.code == 1
    found = json.loads(stdout.getvalue())
    assert isinstance(found, dict)
    return found


def refusal(*arguments: str) -> str:
    """The sentence a command refuses with; exit code 1."""
    with pytest.raises(CommandError) as error:
        call_command(*arguments)
    assert error.value.returncode == 1
    return str(error.value)


def process(data_dir: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`manage.py …` on a data directory, with SQLite and nothing of this environment's settings."""
    return _run(data_dir, arguments, variables, is_cold=False)


def cold_process(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Do the same with a Python that has imported nothing: it reads the settings where an operator's does."""
    return _run(data_dir, arguments, {}, is_cold=True)


def _run(
    data_dir: Path, arguments: Sequence[str], variables: Mapping[str, str], *, is_cold: bool
) -> subprocess.CompletedProcess[str]:
    inherited: dict[str, str] = {
        name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ
    }
    environment = {**inherited, "TOLLGATE_DATA_DIR": str(data_dir), **variables}
    return warm.run(["manage.py", *arguments], environment, GIVE_UP_SECONDS, is_cold=is_cold)
