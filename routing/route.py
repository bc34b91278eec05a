"""Define the frozen values a request is routed by. No Django: protocol code works on these.

A lane is a target with one credential of its provider: what is asked is always a lane.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from gateway_project.lib.secret import Secret
from routing.policy.conditions import Conditions
from tenants.prices.history import UNPRICED, History

CAPABILITIES = frozenset({"reasoning", "vision", "tools", "structured_output", "files"})

MAX_LIMIT = 1_000_000_000

Strategy = Literal["weighted", "fastest", "cheapest", "least_busy"]
Affinity = Literal["cache", "none"]
FallBack = Literal[
    "unavailable", "no_answer", "rate_limit", "quota", "auth", "context_length", "content_policy"
]
FALL_BACKS: tuple[FallBack, ...] = get_args(FallBack)
USUAL_FALL_BACKS: tuple[FallBack, ...] = (
    "unavailable", "no_answer", "rate_limit", "quota", "auth", "context_length",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Quirks:
    """Ways in which a vendor differs from its protocol; data on its row, never code of its own.

    no_stream_usage      refuses `stream_options`, so streamed usage cannot be asked for
    max_tokens_field     the name of the output limit it wants, where it is not the protocol's own
    system_role          the role it wants instructions in (chat): system unless it says developer
    strict_alternation   wants user and assistant in turn, and one system message, first (chat)
    reasoning_field      the key in which it wants its thoughts back with the calls they led to (chat)
    thinking             how it is told to think (anthropic); empty: by the model's generation
    translate            speaks a dialect: its answers are put into the standard shape and never relayed,
                         not even where the client speaks the same protocol (chat, responses)
    keepalive_seconds    how long a connection to it may be idle and be used again; less than it keeps it
    runs_on              goes on writing, and billing, a stream whose connection was closed: hard budgets
                         count all that was held for a stream that was left
    """

    no_stream_usage: bool = False
    max_tokens_field: Literal["", "max_tokens", "max_completion_tokens"] = ""
    system_role: Literal["", "system", "developer"] = ""
    strict_alternation: bool = False
    reasoning_field: Literal["", "reasoning_content", "reasoning"] = ""
    thinking: Literal["", "budget", "adaptive"] = ""
    translate: bool = False
    keepalive_seconds: int | None = None
    runs_on: bool = False

    @classmethod
    def from_row(cls, row: Any) -> Quirks:
        """Read a row's JSON. Raise TypeError or ValueError naming what is wrong."""
        if not isinstance(row, dict):
            raise TypeError("Quirks must be an object.")
        known = {each.name for each in fields(cls)}
        if unknown := sorted(set(row) - known):
            raise ValueError(f"Unknown quirk {unknown[0]!r}; known are {', '.join(sorted(known))}.")
        for name, value in row.items():
            _check_quirk(name, value)
        return cls(**row)


_QUIRK_VALUES = {
    "max_tokens_field": ("max_tokens", "max_completion_tokens"),
    "system_role": ("system", "developer"),
    "reasoning_field": ("reasoning_content", "reasoning"),
    "thinking": ("budget", "adaptive"),
}


def _check_quirk(name: str, value: Any) -> None:
    if name == "keepalive_seconds":
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 600:
            raise ValueError(f"{name} must be a whole number from 0 to 600.")
        return
    words = _QUIRK_VALUES.get(name)
    if words is None and not isinstance(value, bool):
        raise TypeError(f"{name} must be true or false.")
    if words is not None and value != "" and value not in words:
        raise ValueError(f"{name} is {' or '.join(words)}.")


@dataclass(frozen=True, slots=True)
class ProviderLimits:
    """Limits of an account at a provider, as the operator says; None: nothing is known."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None

    @classmethod
    def from_row(cls, row: Any) -> ProviderLimits | None:
        """Read a row's JSON; None if it has no limits. Raise TypeError or ValueError naming what is wrong."""
        if not isinstance(row, dict):
            raise TypeError("Limits must be an object.")
        known = [each.name for each in fields(cls)]
        if unknown := sorted(set(row) - set(known)):
            raise ValueError(f"Unknown limit {unknown[0]!r}; known are {', '.join(known)}.")
        for name, value in row.items():
            if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_LIMIT:
                raise ValueError(f"{name} must be a whole number from 1 to {MAX_LIMIT}.")
        return cls(**row) if row else None


@dataclass(frozen=True, slots=True)
class ResolvedTarget:
    """One lane to send a call to, with everything needed to reach it; `protocol` is the name of one in
    `routing.protocols.PROTOCOLS`.

    `secret` is None when the provider wants none, or when no usable credential exists although it does
    (`missing_credential`). `owns_credential`: the tenant's own credential is sent. `cost` is what a call
    costs us, `charge` what the tenant is charged for it. `list_price` is the cost book's price of a call
    with the tenant's own credential at a provider of the platform; None for every other call.

    `provider_id`, `model_id` and `credential_id` name its rows, `credential_name` tells people which it is;
    of a provider without credentials both are empty. Lanes of a lower `tier` are tried first; within it a
    target has its `weight`, and among the lanes of one target each has its `credential_weight`. A weight of
    0 means drained: it is tried when all else has failed. `is_pooled`: its target has other lanes, too.
    `when`: the calls it is for; None: all of them. `forward_trace_context`: it is told which trace a call is
    part of. `target_spread` and `credential_spread` are numbers by which calls are spread, and `lane_id`
    names the lane, alike in every process. `is_tenants`: its provider is the tenant's own.
    """

    provider: str
    protocol: str
    base_url: str
    auth_kind: str
    secret: Secret | None
    owns_credential: bool
    missing_credential: bool
    allow_private_network: bool
    quirks: Quirks
    model: str
    context_window: int | None
    max_output_tokens: int | None
    capabilities: frozenset[str]
    cost: History = UNPRICED
    charge: History = UNPRICED
    list_price: History | None = None
    provider_id: int = 0
    model_id: int = 0
    credential_id: str = ""
    credential_name: str = ""
    tier: int = 0
    weight: int = 100
    credential_weight: int = 100
    is_pooled: bool = False
    when: Conditions | None = None
    limits: ProviderLimits | None = None
    forward_trace_context: bool = False
    target_spread: int = 0
    credential_spread: int = 0
    is_tenants: bool = False
    lane_id: str = field(init=False, default="")

    @property
    def name(self) -> str:
        return f"{self.provider}/{self.model}"

    def __post_init__(self) -> None:
        object.__setattr__(self, "lane_id", f"{self.model_id or self.name}:{self.credential_id}")


@dataclass(frozen=True, slots=True)
class RoutingPolicy:
    """An alias's way of choosing among its lanes.

    strategy          the order within a tier
    affinity          cache: calls that begin alike go where their beginning may still be cached
    affinity_seconds  how long after a success a lane is preferred for calls that begin alike
    max_attempts      calls upstream for one request, over all lanes
    wait_seconds      the longest wait for a lane to be tried again where no other is left
    fall_back_on      the kinds of failure after which another lane is tried
    """

    strategy: Strategy = "weighted"
    affinity: Affinity = "cache"
    affinity_seconds: int = 600
    max_attempts: int = 3
    wait_seconds: int = 5
    fall_back_on: frozenset[str] = frozenset(USUAL_FALL_BACKS)


USUAL_POLICY = RoutingPolicy()


@dataclass(frozen=True, slots=True)
class DroppedLane:
    """A lane that does not take a call: `reason` is one of `routing.policy.reasons`."""

    lane: ResolvedTarget
    reason: str
    detail: str = ""


CacheScope = Literal["key", "tenant", "end_user"]


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """The rules by which answers of an alias are kept and given again (docs/cache.md).

    seconds          how long an answer may be given again
    scope            who shares one: requests of one key, of one end user of a key, or of the whole tenant
    any_temperature  answers to requests that ask for chance are kept, too
    charge_percent   what such an answer is charged, in percent of its price
    alias_id         the alias that was asked for
    generation       the number of purges
    revision         another text once another model may answer
    deciding         the facts beside a body's content by which conditions choose the model
    """

    seconds: int
    scope: CacheScope
    any_temperature: bool
    charge_percent: int
    alias_id: int
    generation: int
    revision: str
    deciding: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Route:
    """The meaning of a model name for one caller: the lanes, in the order of their tiers.

    `alias` is the name that calls are booked and priced under. `requested_model` is the name asked for,
    if it differs: a tenant's own name for the alias, or `provider@model`. `left_out`: lanes that take no
    call at all. `wants`: the facts about a call that decide between the lanes (routing/policy/wants.py).
    `budget_used_percent`: of the caller's budget that is used most, when the route was read; None if the
    route does not want it. `cache` is None where no answer is kept. `is_tenants`: its name is the
    tenant's own, which is nothing to tell others.
    """

    alias: str
    native_only: bool
    drop_unsupported: bool
    targets: tuple[ResolvedTarget, ...]
    store_by_default: bool | None = None
    resumable_streams: bool = False
    requested_model: str = ""
    policy: RoutingPolicy = USUAL_POLICY
    left_out: tuple[DroppedLane, ...] = ()
    wants: frozenset[str] = frozenset()
    budget_used_percent: int | None = None
    cache: CachePolicy | None = None
    is_tenants: bool = False
