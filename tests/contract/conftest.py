"""Fixtures of the tests that drive real clients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from routing.models import Provider
from tests.contract import programs
from tests.plugins.tiers import sampled
from tests.support import guardrails, rows
from tests.support.live import LiveGateway
from tests.support.rows import PROTOCOLS, Customer

Json = dict[str, Any]
Script = Callable[[str], Json]


@pytest.fixture(params=sampled(PROTOCOLS, default=1, ci=1))
def protocol(request: pytest.FixtureRequest) -> str:
    """The protocol that the upstream speaks."""
    return str(request.param)


@pytest.fixture
def addressed(gateway: LiveGateway, acme: Customer, protocol: str) -> dict[str, str]:
    """The environment of a client program: the gateway, a key, a model, one that breaks off and one that a
    guardrail blocks in the midst of its answer."""
    provider = Provider.objects.get(name=f"sandbox-{protocol}")
    rows.alias(f"failing-{protocol}", (provider, "sandbox-fault-error-mid"))
    block_birch(f"blocked-{protocol}", provider)
    return {
        "TOLLGATE_BASE_URL": gateway.base_url,
        "TOLLGATE_API_KEY": acme.secret,
        "TOLLGATE_MODEL": f"sandbox-{protocol}",
        "TOLLGATE_FAILING_MODEL": f"failing-{protocol}",
        "TOLLGATE_BLOCKED_MODEL": f"blocked-{protocol}",
    }


def block_birch(name: str, provider: Provider) -> None:
    """Make an alias whose answers end at the word birch, the second that the sandbox writes for [chunks]."""
    alias = rows.alias(name, (provider, "sandbox-1"))
    only: Json = {"action": "block", "stages": ["output"], "config": {"terms": ["birch"]}}
    guardrails.guardrail(f"{name}-words", alias=alias, **only)


@pytest.fixture
def node_script(addressed: dict[str, str], tmp_path: Path) -> Script:
    return lambda name: programs.node_script(name, tmp_path, **addressed)


@pytest.fixture
def python_script(addressed: dict[str, str], tmp_path: Path) -> Script:
    return lambda name: programs.python_script(name, tmp_path, **addressed)
