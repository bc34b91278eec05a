"""The lock files pin and hash everything, name no address, and cover pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from tests.plugins.cases import cases

ROOT = Path(__file__).resolve().parent.parent
LOCKS = {
    name: ROOT / "requirements" / f"{name}.lock"
    for name in ("base", "clients", "deploy", "dev", "installer")
}
ADR = ROOT / "docs" / "adr" / "0002-dependencies.md"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME = PROJECT["project"]["dependencies"]
DEVELOPMENT = PROJECT["dependency-groups"]["dev"]
CLIENTS = PROJECT["dependency-groups"]["clients"]
DEPLOY = PROJECT["dependency-groups"]["deploy"]
INSTALLER = PROJECT["dependency-groups"]["installer"]

PIN = re.compile(r"(?P<name>[a-z0-9][a-z0-9-]*)==[^\s;*]+( ; [^\\]+)?")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def requirements(lock: str) -> list[list[str]]:
    """Each requirement as its parts: the pin, then the hashes."""
    text = re.sub(r"#.*", "", LOCKS[lock].read_text()).replace("\\\n", "\0")
    return [
        [part.strip() for part in line.split("\0")] for line in text.splitlines() if line.strip()
    ]


def pinned_names(lock: str) -> set[str]:
    return {pin.split("==")[0] for pin, *_ in requirements(lock)}


def names(dependencies: list[str]) -> list[str]:
    return [re.split(r"[^A-Za-z0-9._-]", dependency)[0].lower() for dependency in dependencies]


@cases("lock", LOCKS)
def test_every_requirement_is_pinned_exactly(lock: str) -> None:
    assert [pin for pin, *_ in requirements(lock) if not PIN.fullmatch(pin)] == []


@cases("lock", LOCKS)
def test_every_requirement_has_only_hashes_behind_it(lock: str) -> None:
    assert [pin for pin, *hashes in requirements(lock) if not hashes] == []
    others = [part for _, *hashes in requirements(lock) for part in hashes]
    assert [part for part in others if not HASH.fullmatch(part)] == []


@cases("lock", LOCKS)
@cases("word", ["://", "index", "find-links", "trusted-host", " @ ", " /"])
def test_no_address_and_no_path_of_a_machine(lock: str, word: str) -> None:
    assert word not in LOCKS[lock].read_text()


def test_the_locks_hold_every_dependency_of_the_project() -> None:
    assert set(names(RUNTIME)) <= pinned_names("base")
    assert set(names(RUNTIME + DEVELOPMENT)) <= pinned_names("dev")
    assert set(names(CLIENTS)) <= pinned_names("clients")
    assert set(names(DEPLOY)) <= pinned_names("deploy")
    assert set(names(INSTALLER)) == pinned_names("installer")


def test_the_development_lock_holds_the_runtime_lock_unchanged() -> None:
    runtime = {tuple(parts) for parts in requirements("base")}
    development = {tuple(parts) for parts in requirements("dev")}
    assert runtime - development == set()


@cases("name", names(RUNTIME + DEVELOPMENT + DEPLOY + INSTALLER))
def test_every_dependency_has_its_reason_written_down(name: str) -> None:
    rows = [line.split("|") for line in ADR.read_text().splitlines() if line.startswith("| ")]
    reasons = {cells[1].strip(" `"): cells[2].strip() for cells in rows}
    assert reasons.get(name), f"{name} has no row with a reason in {ADR.name}"
