"""What an operator can type or set is written down: commands, environment variables, vendors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import get_commands

from gateway_project.lib.errors import GatewayError
from routing.vendors import VENDORS

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = (ROOT / "docs" / "commands.md").read_text()
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
ERRORS = (ROOT / "docs" / "errors.md").read_text()

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


def test_our_commands_and_variables_are_found() -> None:
    assert {"quickstart", "create_tenant", "create_key", "codex_profile"} <= set(OUR_COMMANDS)
    assert {"TOLLGATE_DATA_DIR", "TOLLGATE_KEY_PEPPERS", "DATABASE_URL"} <= set(VARIABLES)


def error_codes(error: type[GatewayError]) -> set[str]:
    """Those of an error and of all that derive from it."""
    own = {str(error.code)} if isinstance(getattr(error, "code", None), str) else set()
    return own.union(*(error_codes(derived) for derived in error.__subclasses__()))


def test_every_command_stands_in_the_table() -> None:
    assert [name for name in OUR_COMMANDS if f"| [`{name}`](#{name}) |" not in COMMANDS] == []


def test_every_error_code_has_a_row() -> None:
    rows = " ".join(line.split("|")[2] for line in ERRORS.splitlines() if line.startswith("| "))
    assert sorted(code for code in error_codes(GatewayError) if f"`{code}`" not in rows) == []


@pytest.mark.parametrize("name", OUR_COMMANDS)
def test_every_command_has_a_section(name: str) -> None:
    assert f"\n## {name}\n`{name}" in COMMANDS


@pytest.mark.parametrize("name", VARIABLES)
def test_every_variable_of_the_settings_has_a_row(name: str) -> None:
    assert f"\n| `{name}` |" in SETTINGS


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
def test_every_vendor_has_its_variable_provider_and_aliases_in_one_row(vendor) -> None:
    row = next(line for line in SETTINGS.splitlines() if f"| `{vendor.variable}` |" in line)
    names = [vendor.name, *(model.alias_name for model in vendor.models)]
    assert [name for name in names if f"`{name}`" not in row] == []
