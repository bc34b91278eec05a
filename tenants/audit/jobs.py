"""Do the audit log's periodic work. Its schedule is in responses_api/jobs.py."""

from __future__ import annotations

from collections.abc import Iterator

from tenants.audit import chain, checkpoints, pruning


def join_events() -> Iterator[None]:
    chain.join_pending()
    yield


def keep_log() -> Iterator[None]:
    """Sign the end of each chain, then delete what was kept long enough."""
    chain.join_pending()
    yield
    yield from checkpoints.sign_all()
    yield from pruning.prune()
