"""Send a small real call to each target of an alias: does it answer, how fast, and if not, why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError

from routing import resolve, side_calls
from routing.protocols import PROTOCOLS
from routing.route import ResolvedTarget, Route
from routing.side_calls import NoAnswer, Reach, SideAnswer
from tenants.keys.caller import keyless
from tenants.models import Tenant

PROMPT = "Answer with the word OK."
MAX_OUTPUT_TOKENS = 16
MAX_TOLD = 200


@dataclass(frozen=True, slots=True)
class Probe:
    """The outcome for one target. `status` is None when there was no HTTP answer."""

    target: str
    protocol: str
    ok: bool
    status: int | None
    latency_ms: float
    error: str | None
    is_forbidden: bool = False  # the egress policy refused the address that the error names

    def as_json(self) -> dict[str, Any]:
        names = ("target", "protocol", "ok", "status", "latency_ms", "error")
        return {name: getattr(self, name) for name in names}

    def __str__(self) -> str:
        answered = f"HTTP {self.status}" if self.status is not None else "no answer"
        said = "ok" if self.ok else f"FAILED: {self.error}"
        return f"{self.target} ({self.protocol}): {answered}, {self.latency_ms:.0f} ms, {said}"


def check(alias: str, tenant: Tenant | None) -> list[Probe]:
    """Call every target of the alias, in order. Raise ValidationError if there is nothing to call."""
    route = _route(alias, tenant)
    if not route.targets:
        raise ValidationError(
            {"alias": f"{alias!r} has no target whose provider is enabled; see add_alias."}
        )
    return [probe(target) for target in route.targets]


def _route(alias: str, tenant: Tenant | None) -> Route:
    """Return the route a key of this tenant, or of a tenant with nothing of its own, would get."""
    route = resolve.find(keyless(tenant), alias)
    if route is None:
        raise ValidationError(
            {
                "alias": f"There is no enabled alias {alias!r}, and no model of that name; add it with "
                "add_alias, or a provider's models with sync_models."
            }
        )
    return route


def probe(target: ResolvedTarget) -> Probe:
    """Send the smallest call to one target."""
    if target.missing_credential:
        return _failure(target, "It has no usable credential; see 'doctor'.")
    protocol = PROTOCOLS[target.protocol]
    # A short limit, so that a check costs next to nothing.
    body = protocol.probe(target, PROMPT, MAX_OUTPUT_TOKENS)
    try:
        answer = side_calls.ask(_reach(target), "POST", protocol.path, body=body)
    except NoAnswer as none:
        return _failure(
            target, str(none), latency_ms=none.latency_ms, is_forbidden=none.is_forbidden
        )
    error = _fault(answer, target)
    return Probe(
        target.name, target.protocol, error is None, answer.status, answer.latency_ms, error
    )


def _reach(target: ResolvedTarget) -> Reach:
    return Reach(
        target.protocol,
        target.base_url,
        target.auth_kind,
        target.secret,
        target.allow_private_network,
    )


def _failure(
    target: ResolvedTarget, error: str, *, latency_ms: float = 0.0, is_forbidden: bool = False
) -> Probe:
    return Probe(target.name, target.protocol, False, None, latency_ms, error, is_forbidden)


def _fault(answer: SideAnswer, target: ResolvedTarget) -> str | None:
    """Return what is wrong with the answer; a proxy's welcome page with status 200 is wrong, too."""
    body = answer.json()
    if not answer.is_ok or not isinstance(body, dict) or body.get("error"):
        return side_calls.error_of(answer, target.secret)
    wanted = PROTOCOLS[target.protocol].answer_list
    if not wanted or isinstance(body.get(wanted), list):
        return None
    told = side_calls.error_of(answer, target.secret)[:MAX_TOLD]
    return f"Its answer has no list {wanted!r}, as {target.protocol} answers do: {told}"
