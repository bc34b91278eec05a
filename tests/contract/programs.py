"""Client programs as they are installed by `make test-clients`: where they lie, and how they are run.

Each script of js/ and py/ drives one client library through its scenarios and prints one JSON object: what
each scenario told. A program gets an empty home and none of this process's environment, so that neither a
developer's settings nor a key nor a proxy reaches it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.patience import GIVE_UP_SECONDS

HERE = Path(__file__).resolve().parent
CLIENTS = HERE.parents[1] / "var" / "clients"
NODE = CLIENTS / "node"
PYTHON = CLIENTS / "python"
CODEX = NODE / "node_modules" / ".bin" / "codex"
_KEPT = ("PATH", "LANG", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a program, and its output."""

    code: int
    out: str
    err: str


def run(command: list[str | Path], home: Path, **environment: str) -> Ended:
    """Run a program in `home` to its end, with nothing on its standard input."""
    inherited = {name: os.environ[name] for name in _KEPT if name in os.environ}
    ended = subprocess.run(
        command,
        cwd=home,
        env={**inherited, "HOME": str(home), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=GIVE_UP_SECONDS,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def node_script(name: str, home: Path, **environment: str) -> dict[str, Any]:
    """Run a copy of a script of js/ beside its packages, where Node finds them; return its report."""
    need_node()
    for script in (HERE / "js").glob("*.mjs"):
        shutil.copy(script, NODE)
    return _told(run(["node", NODE / name], home, **environment))


def python_script(name: str, home: Path, **environment: str) -> dict[str, Any]:
    """Run a script of py/ and return its report."""
    need_python()
    interpreter = PYTHON / "bin" / "python"
    # -I would hide the script's own folder from it. Bytecode, of packages too, stays out of the tree.
    environment["PYTHONPYCACHEPREFIX"] = str(CLIENTS / "bytecode")
    return _told(run([interpreter, HERE / "py" / name], home, **environment))


def need_node() -> None:
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    _need(NODE / "node_modules")


def need_python() -> None:
    _need(PYTHON / "bin" / "python")


def _need(path: Path) -> None:
    if not path.exists():
        pytest.skip(f"{path.relative_to(CLIENTS.parents[1])} is absent: run `make test-clients`")


def _told(ended: Ended) -> dict[str, Any]:
    assert ended.code == 0, ended.err
    told: dict[str, Any] = orjson.loads(ended.out)
    return told
