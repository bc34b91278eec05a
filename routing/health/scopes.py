"""Name what can fail together: a provider, a model of it, an account there, or a model with an account."""

from __future__ import annotations

from typing import Literal, NamedTuple

from routing.route import ResolvedTarget

ScopeKind = Literal["provider", "model", "credential", "credential_model"]
KINDS: tuple[ScopeKind, ...] = ("provider", "model", "credential", "credential_model")
NO_CREDENTIAL = "-"


class FailureScope(NamedTuple):
    """Name what one circuit is for. `model` and `credential` are empty where they do not matter."""

    kind: ScopeKind
    provider_id: int
    provider: str
    credential: str = ""
    model: str = ""

    @property
    def name(self) -> str:
        """Return the name that people and other processes know it by; `read_scope` reads it."""
        words = [self.kind, str(self.provider_id), self.provider]
        words += [each for each in (self.credential, self.model) if each]
        return "/".join(words)


def scopes_of(
    lane: ResolvedTarget,
) -> tuple[FailureScope, FailureScope, FailureScope, FailureScope]:
    """Return the four scopes of a lane, in the order of `KINDS`."""
    at = lane.provider_id, lane.provider
    credential = lane.credential_id or NO_CREDENTIAL
    return (
        FailureScope("provider", *at),
        FailureScope("model", *at, "", lane.model),
        FailureScope("credential", *at, credential),
        FailureScope("credential_model", *at, credential, lane.model),
    )


def read_scope(name: str) -> FailureScope | None:
    """Read the name of a scope; None if it is none. The name of a model may contain slashes."""
    kind, _, rest = name.partition("/")
    provider_id, _, rest = rest.partition("/")
    provider, _, rest = rest.partition("/")
    if not (provider_id.isdecimal() and provider):
        return None
    at = int(provider_id), provider
    if kind == "provider":
        return None if rest else FailureScope("provider", *at)
    if kind == "model":
        return FailureScope("model", *at, "", rest) if rest else None
    credential, _, model = rest.partition("/")
    if kind == "credential" and credential and not model:
        return FailureScope("credential", *at, credential)
    if kind == "credential_model" and credential and model:
        return FailureScope("credential_model", *at, credential, model)
    return None
