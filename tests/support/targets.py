"""Targets for tests that call no upstream: their fields do not matter, but for those that a test gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from routing.route import Quirks, ResolvedTarget

PLAIN = ResolvedTarget(
    provider="vendor",
    protocol="chat",
    base_url="http://upstream.invalid/v1",
    auth_kind="none",
    secret=None,
    owns_credential=False,
    missing_credential=False,
    allow_private_network=False,
    quirks=Quirks(),
    model="model-1",
    context_window=None,
    max_output_tokens=None,
    capabilities=frozenset(),
)


def target(protocol: Any, **fields: Any) -> ResolvedTarget:
    return replace(PLAIN, protocol=protocol, **fields)
