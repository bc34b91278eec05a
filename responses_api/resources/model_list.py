"""Build the body of GET /models: one shape that serves OpenAI's SDKs, Claude Code and Codex.

OpenAI's SDKs read `object` and `data`; Claude Code reads `data[].id` and `display_name` and the paging keys;
Codex reads `models` and ignores the rest (docs/wire.md 10.1).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from typing import Any

from routing.models import Alias, Target

DEFAULT_CONTEXT_WINDOW = 128_000
TRUNCATION_BYTES = 10_000


def listing(aliases: Iterable[Alias]) -> dict[str, Any]:
    """Return the list of models in the order given."""
    found = list(aliases)
    data = [entry(alias) for alias in found]
    windows = _context_windows(found)
    return {
        "object": "list",
        "data": data,
        "has_more": False,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "models": [
            codex_entry(alias.name, windows.get(alias.pk), position)
            for position, alias in enumerate(found)
        ],
    }


def entry(alias: Alias) -> dict[str, Any]:
    """Return one model as GET /models/{id} answers it."""
    return {
        "id": alias.name,
        "object": "model",
        "created": int(alias.created_at.timestamp()),
        "owned_by": "tenant" if alias.tenant_id is not None else "tollgate",
        "type": "model",
        "display_name": alias.name,
        "created_at": alias.created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def codex_entry(name: str, context_window: int | None, priority: int) -> dict[str, Any]:
    """Return the smallest entry Codex accepts in a model catalogue."""
    return {
        "slug": name,
        "display_name": name,
        "supported_reasoning_levels": [
            {"effort": effort, "description": effort} for effort in ("low", "medium", "high")
        ],
        "shell_type": "unified_exec",
        "visibility": "list",
        "supported_in_api": True,
        "priority": priority,
        "support_verbosity": False,
        "truncation_policy": {"mode": "bytes", "limit": TRUNCATION_BYTES},
        "experimental_supported_tools": [],
        "base_instructions": "",
        "context_window": context_window or DEFAULT_CONTEXT_WINDOW,
    }


def _context_windows(aliases: list[Alias]) -> dict[int, int | None]:
    """Return the context window of each alias's first target, in one query; a link has no targets of its
    own."""
    sources = {alias.pk: alias.platform_alias_id or alias.pk for alias in aliases}
    rows = (
        Target.objects.filter(alias__in=set(sources.values()))
        .order_by("alias", "-position", "-pk")
        .values_list("alias_id", "provider_model__context_window")
    )
    windows = dict(rows)
    return {pk: windows.get(source) for pk, source in sources.items()}
