"""Applying texts as files, with secrets from variables of the test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from gateway_project.lib.env import Env
from tenants import revision
from tenants.access.access import OPERATOR, Access
from tenants.configuration import applying, document
from tenants.configuration.plan import ChangePlan
from tenants.configuration.secrets import SecretsOfHost
from tests.support import snapshots

FOLDER = Path("/nowhere")
Json = dict[str, Any]


def apply(
    text: str, variables: dict[str, str] | None = None, who: Access = OPERATOR, **options: bool
) -> ChangePlan:
    secrets = SecretsOfHost(FOLDER, Env(variables or {}))
    return applying.apply(who, document.read(text.encode()), secrets, **options)


def refusal(text: str, variables: dict[str, str] | None = None) -> dict[str, list[str]]:
    """Return errors by their places; nothing was changed."""
    before = rows()
    with pytest.raises(ValidationError) as refused:
        apply(text, variables)
    assert rows() == before
    error = refused.value
    return error.message_dict if hasattr(error, "error_dict") else {"": error.messages}


def rows() -> tuple[int, list[Any]]:
    """Return all that the database holds."""
    return revision.current(), [(table.insert, table.rows) for table in snapshots.take()]


def told(plan: ChangePlan) -> list[tuple[str, str, str, str]]:
    return [(each.action, each.owner, each.section, each.name) for each in plan.differences]
