"""Records as a worker writes them, without a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway_project.lib import clock, ids
from tenants.ledger.records import Opened, Settled
from tenants.ledger.row_ids import row_id
from tenants.ledger.spool import Spool


def opened(**fields: Any) -> Opened:
    """A call about to be sent."""
    known = {
        "tenant_id": 1,
        "key_id": 1,
        "id": row_id(ids.request_id(), 0),
        "leg": 0,
        "at_ms": int(clock.timestamp() * 1000),
        "tenant": "acme",
        "key": "abc",
        "route": "chat",
        "alias": "model",
        "provider": "sandbox",
        "upstream_model": "good",
        "input_estimate": 10,
    }
    return Opened(**{**known, **fields})


def settled(call: Opened, tokens: int = 1, **fields: Any) -> Settled:
    """The end of a call: that many tokens of every class, one nano-dollar each."""
    known = {
        "status": "completed",
        "usage_source": "provider",
        "tokens": (tokens,) * 8,
        "cost_nano": 8 * tokens,
        "charges_nano": (tokens,) * 8,
        "duration_ms": 1,
    }
    return Settled(id=call.id, **{**known, **fields})


def write_call(spool: Spool, **fields: Any) -> Opened:
    """A call from its beginning to its end."""
    call = opened(**fields)
    spool.append(call)
    spool.append(settled(call))
    return call


def log_of(spool: Spool, directory: Path, number: int = 1) -> Path:
    return directory / spool.name / f"{number:06d}.log"


@pytest.fixture
def spools(tmp_path: Path) -> Path:
    directory = tmp_path / "spool"
    directory.mkdir()
    return directory
