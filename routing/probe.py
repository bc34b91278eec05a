"""One small real call to each target of an alias: does it answer, how fast, and if not, why."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx
from django.core.exceptions import ValidationError

from gateway_project.lib import clock
from routing import resolve, side_calls
from routing.route import Route, Target
from tenants.caller import Caller
from tenants.models import Tenant

PROMPT = "Answer with the word OK."
MAX_OUTPUT_TOKENS = 16
PATHS = {"chat": "/chat/completions", "responses": "/responses", "anthropic": "/messages"}


@dataclass(frozen=True, slots=True)
class Probe:
    """What one target did. `status` is None when there was no HTTP answer."""

    target: str
    protocol: str
    ok: bool
    status: int | None
    latency_ms: float
    error: str | None

    def __str__(self) -> str:
        answered = f"HTTP {self.status}" if self.status is not None else "no answer"
        said = "ok" if self.ok else f"FAILED: {self.error}"
        return f"{self.target} ({self.protocol}): {answered}, {self.latency_ms:.0f} ms, {said}"


def check(alias: str, tenant: Tenant | None) -> list[Probe]:
    """Call every target of the alias, in order. Raises ValidationError if there is nothing to call."""
    route = _route(alias, tenant)
    if not route.targets:
        raise ValidationError(
            {"alias": f"{alias!r} has no target whose provider is enabled; see add_alias."}
        )
    return [_probe(target) for target in route.targets]


def _route(alias: str, tenant: Tenant | None) -> Route:
    """The route a key of this tenant, or of a tenant with nothing of its own, would get."""
    caller = Caller(
        key_id=0,
        key_public_id="",
        tenant_id=tenant.pk if tenant is not None else 0,
        tenant_slug=tenant.slug if tenant is not None else "",
        scopes=frozenset(),
        all_aliases=True,
        allow_direct_targets=True,
        networks=(),
        expires_at=None,
    )
    route = resolve.find(caller, alias)
    if route is None:
        raise ValidationError(
            {
                "alias": f"There is no enabled alias {alias!r}, and no model of that name; add it with "
                "add_alias, or a provider's models with sync_models."
            }
        )
    return route


def _probe(target: Target) -> Probe:
    if target.missing_credential:
        return _failed(target, "It has no credential that can be used; see 'doctor'.")
    client = side_calls.client(
        target.protocol,
        target.auth_kind,
        target.secret,
        allow_private=target.allow_private_network,
    )
    started = clock.monotonic()
    with client:
        try:
            response = client.post(target.base_url + PATHS[target.protocol], json=_body(target))
        except httpx.HTTPError as error:
            return _failed(target, _reason(error, target), started)
    error_text = None if _is_answer(response) else side_calls.error_of(response, target.secret)
    latency_ms = _milliseconds_since(started)
    ok = error_text is None
    return Probe(target.name, target.protocol, ok, response.status_code, latency_ms, error_text)


def _failed(target: Target, error: str, started: float | None = None) -> Probe:
    latency_ms = _milliseconds_since(started) if started is not None else 0.0
    return Probe(target.name, target.protocol, False, None, latency_ms, error)


def _reason(error: httpx.HTTPError, target: Target) -> str:
    return side_calls.scrubbed(f"{type(error).__name__}: {error}", target.secret)


def _milliseconds_since(started: float) -> float:
    return round((clock.monotonic() - started) * 1000, 1)


def _is_answer(response: httpx.Response) -> bool:
    """A 200 with a JSON object; a proxy's welcome page is none."""
    if response.status_code != httpx.codes.OK:
        return False
    try:
        return isinstance(response.json(), dict)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return False


def _body(target: Target) -> dict[str, Any]:
    """The smallest request each protocol accepts; a short limit, so that a check costs next to nothing."""
    match target.protocol:
        case "responses":
            return {
                "model": target.model,
                "input": PROMPT,
                "max_output_tokens": MAX_OUTPUT_TOKENS,
                "store": False,
            }
        case "anthropic":
            limit = "max_tokens"
        case "chat":
            limit = target.quirks.max_tokens_field or "max_completion_tokens"
    messages = [{"role": "user", "content": PROMPT}]
    return {"model": target.model, "messages": messages, limit: MAX_OUTPUT_TOKENS}
