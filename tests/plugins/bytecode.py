"""Write bytecode once, before the processes of a run (`-n`) begin, each of which would make all of it.

Where there is none yet, as on a fresh clone, every process rewrites the assertions of every module of tests
(ten seconds of processor time) and compiles the product. They begin at the same moment and go the same way,
so that none finds what another has written. Here the process that starts them divides it among as many
children as there are cores, and waits. Where all is written it only looks at two thousand files.
"""

from __future__ import annotations

import ast
import importlib.util
import marshal
import os
import py_compile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from _pytest.assertion import rewrite

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("gateway_project", "responses_api", "routing", "tenants", "tests", "bench")
HEADER_BYTES = 16


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        write_missing(config)


def write_missing(config: pytest.Config) -> None:
    """Write what is missing or older than its source, and return when it is written."""
    missing = [path for path in sources() if not is_written(path)]
    cores = len(os.sched_getaffinity(0))
    children = [part for part in (missing[number::cores] for number in range(cores)) if part]
    running = [_fork(part, config) for part in children]
    for child in running:
        os.waitpid(child, 0)


def sources() -> Iterator[Path]:
    found = chain.from_iterable((ROOT / folder).rglob("*.py") for folder in FOLDERS)
    return (path for path in found if "var" not in path.parts)


def is_rewritten(path: Path) -> bool:
    return path.name == "conftest.py" or path.name.startswith("test_")


def bytecode_of(path: Path) -> Path:
    if is_rewritten(path):
        return rewrite.get_cache_dir(path) / (path.stem + rewrite.PYC_TAIL)
    return Path(importlib.util.cache_from_source(str(path)))


def is_written(path: Path) -> bool:
    try:
        with bytecode_of(path).open("rb") as file:
            return file.read(HEADER_BYTES) == header_of(path)
    except OSError:
        return False


def header_of(path: Path) -> bytes:
    """Return how bytecode of this source begins: pytest knows the source by its hash, the interpreter by its
    time and its size."""
    magic = importlib.util.MAGIC_NUMBER
    if is_rewritten(path):
        return magic + _number(0b11) + importlib.util.source_hash(path.read_bytes())
    source = path.stat()
    return magic + _number(0) + _number(int(source.st_mtime)) + _number(source.st_size)


def _number(value: int) -> bytes:
    return (value & 0xFFFFFFFF).to_bytes(4, "little")


def _fork(part: list[Path], config: pytest.Config) -> int:
    child = os.fork()
    if child:
        return child
    try:
        for path in part:
            _write(path, config)
    finally:
        # What could not be written is made, or complained about, by the process that needs it.
        os._exit(0)


def _write(path: Path, config: pytest.Config) -> None:
    if not is_rewritten(path):
        py_compile.compile(str(path), doraise=False, quiet=2)
        return
    header, source = header_of(path), path.read_bytes()
    tree = ast.parse(source, filename=str(path))
    rewrite.rewrite_asserts(tree, source, str(path), config)
    code = compile(tree, str(path), "exec", dont_inherit=True)
    written = bytecode_of(path)
    written.parent.mkdir(exist_ok=True)
    making = written.with_name(f"{written.name}.{os.getpid()}")
    making.write_bytes(header + marshal.dumps(code))
    making.rename(written)
