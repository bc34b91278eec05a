"""Check that what can be typed or set is written down, and that every document that is cited exists."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from django.apps import apps
from django.core.management import get_commands

from gateway_project import command_reference
from gateway_project.lib.errors import GatewayError
from responses_api.jobs import JOBS
from routing.vendors import VENDORS
from tests.plugins.cases import cases

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = (ROOT / "docs" / "commands.md").read_text()
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
ERRORS = (ROOT / "docs" / "errors.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
WIRE = (ROOT / "docs" / "wire.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
GUARANTEES = (ROOT / "docs" / "guarantees.md").read_text()
TIERS = r"default|CI|proof"

OUR_PACKAGES = ("gateway_project", "tenants", "routing", "responses_api", "templates", "tests")
OUR_APPS = {
    config.name for config in apps.get_app_configs() if Path(config.path).resolve().parent == ROOT
}
OUR_COMMANDS = sorted(name for name, app in get_commands().items() if app in OUR_APPS)
VARIABLES = sorted(
    set(
        re.findall(
            r'(?:env\.\w+|_keyring)\(\s*"([A-Z_]+)"',
            (ROOT / "gateway_project" / "settings.py").read_text(),
        )
    )
)


def test_every_periodic_job_is_documented() -> None:
    table = OPERATIONS.partition("## Periodic work")[2]
    assert re.findall(r"(?m)^\| `(\w+)` \|", table) == [job.name for job in JOBS]


def test_our_commands_and_variables_are_found() -> None:
    assert {"quickstart", "create_tenant", "create_key", "codex_profile"} <= set(OUR_COMMANDS)
    assert {"TOLLGATE_DATA_DIR", "TOLLGATE_KEY_PEPPERS", "DATABASE_URL"} <= set(VARIABLES)


def error_codes(error: type[GatewayError]) -> set[str]:
    """Return the codes of an error and of all that derive from it."""
    own = {str(error.code)} if isinstance(getattr(error, "code", None), str) else set()
    return own.union(*(error_codes(derived) for derived in error.__subclasses__()))


def test_the_page_of_the_commands_is_what_their_parsers_say() -> None:
    assert command_reference.document() == COMMANDS, "make commands"


def test_every_command_stands_under_its_subject_and_every_text_is_of_one() -> None:
    named = [name for names in command_reference.SUBJECTS.values() for name in names]
    assert sorted(named) == OUR_COMMANDS
    texts = {path.stem for path in command_reference.TEXTS.glob("*.md")} - {"introduction"}
    assert texts - set(OUR_COMMANDS) == set()


def test_no_guarantee_stands_twice() -> None:
    rows = re.findall(r"(?m)^\| \w.{40,}$", GUARANTEES)
    assert len(rows) == len(set(rows))


def test_every_guarantee_names_the_tier_that_proves_it() -> None:
    rows = [line for line in GUARANTEES.splitlines() if re.match(r"\| [^-]", line)][1:]
    tiers = [re.split(r"(?<!\\)\|", row)[4:-1] for row in rows]
    unnamed = [
        row[:80] for row, named in zip(rows, tiers, strict=True) if not re.search(TIERS, str(named))
    ]
    assert unnamed == []


def test_every_error_code_has_a_row() -> None:
    rows = " ".join(line.split("|")[2] for line in ERRORS.splitlines() if line.startswith("| "))
    assert sorted(code for code in error_codes(GatewayError) if f"`{code}`" not in rows) == []


@cases("name", VARIABLES)
def test_every_variable_of_the_settings_has_one_row(name: str) -> None:
    assert SETTINGS.count(f"\n| `{name}` |") == 1


@cases("vendor", VENDORS, ids=lambda vendor: vendor.name)
def test_every_vendor_has_its_variable_provider_and_aliases_in_one_row(vendor) -> None:
    row = next(line for line in SETTINGS.splitlines() if f"| `{vendor.variable}` |" in line)
    names = [vendor.name, *(model.alias_name for model in vendor.models)]
    assert [name for name in names if f"`{name}`" not in row] == []


# Citations

SUFFIXES = {"", ".html", ".js", ".lua", ".md", ".mjs", ".py", ".sh", ".toml", ".yml"}
SKIPPED = {"node_modules", "recordings", "var", "__pycache__"}
# A name in quotes is data of a test or a path of the code; one inside an address is somebody else's.
DOCUMENT = re.compile(r"""(?:(?<![\w"'/.:-])|(?<=\"{3}))[\w.-]+(?:/[\w.-]+)*\.md\b""")
NUMBERS = re.compile(r"docs/wire\.md((?:,? (?:and )?(?:pitfalls? )?\d+(?:\.\d+)?)+)")


def written() -> Iterator[tuple[Path, str]]:
    """Every file in which somebody may cite a document, as one line: citations wrap."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in SKIPPED and (not name.startswith(".") or name == ".ci")
        ]
        for path in (Path(folder, name) for name in names if not name.startswith(".")):
            if path.suffix in SUFFIXES:
                yield path, re.sub(r"\s*\n\s*(?:# )?", " ", path.read_text())


def is_there(document: str, cited_in: Path) -> bool:
    """Tell whether a document exists; Markdown may cite its neighbours, others give the whole path."""
    # A part of docs/commands.md cites as that page does.
    folder = ROOT / "docs" if cited_in.parent == command_reference.TEXTS else cited_in.parent
    beside = cited_in.suffix == ".md" and (folder / document).is_file()
    return beside or (ROOT / document).is_file()


def cited_numbers(text: str) -> Iterator[str]:
    """The sections and pitfalls that a text cites, as `5.1` and `pitfall 6`."""
    for citation in NUMBERS.findall(text):
        sections, _, pitfalls = citation.partition("pitfall")
        yield from re.findall(r"\d+(?:\.\d+)?", sections)
        yield from (f"pitfall {number}" for number in re.findall(r"\d+(?:\.\d+)?", pitfalls))


def test_every_document_that_is_cited_is_in_the_repository() -> None:
    missing = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, text in written()
        for name in DOCUMENT.findall(text)
        if not is_there(name, path)
    ]
    assert missing == []


def test_every_citation_of_a_wire_fact_names_one() -> None:
    sections = re.findall(r"^###? (\d+(?:\.\d+)?) ", WIRE, re.MULTILINE)
    pitfalls = [f"pitfall {n}" for n in re.findall(r"^\| (\d+) \| ", WIRE, re.MULTILINE)]
    known = {*sections, *pitfalls}
    assert len(known) == len(sections) + len(pitfalls)
    cited = [
        (number, str(path.relative_to(ROOT)))
        for path, text in written()
        for number in cited_numbers(text)
    ]
    assert {"2.1", "pitfall 16"} <= {number for number, _ in cited}
    assert [citation for citation in cited if citation[0] not in known] == []


def test_code_and_tests_named_with_a_wire_fact_exist() -> None:
    named = set(re.findall(r"`([\w.]+(?:/[\w.]+)+\.py)`", WIRE))
    assert "routing/protocols/shared/envelope.py" in named
    assert sorted(path for path in named if not (ROOT / path).is_file()) == []


# The tree

# What Django or Python call so, or another package's line of the tree tells of.
USUAL = {
    *("admin", "api", "formats", "locale", "management", "migrations", "models", "static"),
    *("templates", "templatetags", "views", "__pycache__"),
}
# Doors that the page explains what they would need.
IMAGINED = {"responses_api/doors/gemini/", "doors/messages/"}


@cases("package", ["gateway_project", "tenants", "routing", "responses_api"])
def test_the_tree_in_the_architecture_has_every_room(package: str) -> None:
    tree = re.search(rf"^{package}/.*\n((?:  .*\n)+)", ARCHITECTURE, re.MULTILINE)
    assert tree is not None
    named = set(re.findall(r"^  (\w+)/", tree[1], re.MULTILINE))
    rooms = {path.name for path in (ROOT / package).iterdir() if path.is_dir()}
    assert named - rooms == set()
    assert rooms - named - USUAL == set()


def test_what_the_architecture_names_exists() -> None:
    named = set(re.findall(r"`([a-z_]+/[\w./]+)`", ARCHITECTURE)) - IMAGINED
    there = [path.as_posix() for package in OUR_PACKAGES for path in (ROOT / package).rglob("*")]
    missing = {name for name in named if not any(f"/{name.rstrip('/')}" in path for path in there)}
    assert {name for name in missing if not (ROOT / name).exists()} == set()
