"""The JavaScript clients are pinned and hashed like ours in Python, their lock names no registry, and
docs/clients.md tells the version of every client that is driven."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.contract import programs
from tests.plugins.cases import cases

PROJECT = programs.HERE / "js"
PACKAGES = json.loads((PROJECT / "package-lock.json").read_text())["packages"]
ROOT = Path(__file__).resolve().parents[2]
DOCUMENTED = (ROOT / "docs" / "clients.md").read_text()
PYTHON_CLIENTS = {"langchain-openai": "clients", "openai": "dev", "openai-agents": "clients"}
INSTALLED = {place: package for place, package in PACKAGES.items() if place}


def test_every_client_is_asked_for_in_one_exact_version():
    wanted = json.loads((PROJECT / "package.json").read_text())["dependencies"]
    assert PACKAGES[""]["dependencies"] == wanted
    locked = {name: PACKAGES[f"node_modules/{name}"]["version"] for name in wanted}
    assert locked == wanted


@cases("place", INSTALLED)
def test_every_package_has_its_hash_and_no_address(place):
    assert INSTALLED[place]["integrity"].startswith("sha512-")
    assert "resolved" not in INSTALLED[place]


@cases("name", ["@ai-sdk/openai", "@openai/codex", "ai", "openai"])
def test_the_version_of_every_javascript_client_is_told(name):
    assert f"`{name}` {PACKAGES[f'node_modules/{name}']['version']}" in DOCUMENTED


@cases("name", PYTHON_CLIENTS)
def test_the_version_of_every_python_client_is_told(name):
    lock = (ROOT / "requirements" / f"{PYTHON_CLIENTS[name]}.lock").read_text()
    (version,) = re.findall(rf"(?m)^{name}==(\S+)", lock)
    assert f"`{name}` {version}" in DOCUMENTED
