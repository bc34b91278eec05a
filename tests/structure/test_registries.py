"""Nothing but its own folder and the registry knows a door or a protocol by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from responses_api.doors.registry import DOORS
from routing.protocols import PROTOCOLS
from routing.vendors import VENDORS

ROOT = Path(__file__).resolve().parents[2]
# `input_tokens` is also a field of every usage report.
NAMES = (DOORS.keys() | PROTOCOLS.keys()) - {"input_tokens"}
# A string of its own, neither a part of a text nor in backticks.
_QUOTED = re.compile(rf"(?<![\w`])\"({'|'.join(sorted(NAMES))})\"(?![\w`])")
ALLOWED = {
    "routing/vendors.py": "rows of data, which say what each vendor speaks",
    "gateway_project/sandbox": "a program of its own, with a registry of its own",
    "tenants/access/rights.py": "an area of the console that is called 'responses'",
    "responses_api/admin/": "a page of the console that is called 'responses'",
    "tenants/console/navigation.py": "the same page, in the menu",
    "responses_api/api/urls.py": "a route of the management API that is called 'responses'",
    "responses_api/accounting/call_metrics.py": "a word of OpenTelemetry's conventions",
    "gateway_project/openapi": "OpenAPI's own word",
    "gateway_project/demo": "made-up providers and calls",
    "responses_api/resources/codex_profile.py": "Codex's own word, in a file for Codex",
    "responses_api/calls/trace_spans.py": "OpenTelemetry's own words",
    "tenants/prices/generate_starter.py": "a vendor's name in a price list",
}


def test_names_of_doors_and_protocols_stand_in_their_folders_only() -> None:
    found = {
        f"{path}:{line} {name!r}"
        for path, line, name in _literals()
        if not _is_own_folder(path, name) and not any(map(str(path).startswith, ALLOWED))
    }
    assert not found, "make it a field of Door or UpstreamProtocol"


def test_every_exception_is_needed() -> None:
    paths = {str(path) for path, _, _ in _literals()}
    assert all(any(path.startswith(allowed) for path in paths) for allowed in ALLOWED)


def test_vendors_speak_protocols_that_there_are() -> None:
    assert {vendor.protocol for vendor in VENDORS} <= PROTOCOLS.keys()


def test_a_name_is_that_of_its_folder() -> None:
    for name in PROTOCOLS:
        assert (ROOT / "routing" / "protocols" / name / "__init__.py").exists()
    for name in DOORS:
        assert (ROOT / "responses_api" / "doors" / name / "__init__.py").exists()


def _is_own_folder(path: Path, name: str) -> bool:
    return path.parent in {Path("routing/protocols") / name, Path("responses_api/doors") / name}


def _literals() -> Iterator[tuple[Path, int, str]]:
    """Every string in the product that is just such a name; migrations are history."""
    for package in ("gateway_project", "tenants", "routing", "responses_api"):
        for file in sorted((ROOT / package).rglob("*.py")):
            if "migrations" in file.parts:
                continue
            for number, line in enumerate(file.read_text().splitlines(), 1):
                for found in _QUOTED.finditer(line.partition("  #")[0]):
                    yield file.relative_to(ROOT), number, found[1]
