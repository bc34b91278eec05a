"""Load programs of the repository that have no name that could be imported."""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any


def load(path: Path) -> Any:
    """Return a program as a module. No bytecode is written beside it: nothing is written into the tree."""
    loader = SourceFileLoader(f"script_{path.name}", str(path))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    sys.modules[loader.name] = module = module_from_spec(spec)
    is_unwritten, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = is_unwritten
    return module
