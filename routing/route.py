"""The frozen values a request is routed by. No Django: protocol code works on these."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from gateway_project.lib.secret import Secret

Protocol = Literal["chat", "responses", "anthropic"]
CAPABILITIES = frozenset({"reasoning", "vision", "tools", "structured_output", "files"})


@dataclass(frozen=True, slots=True)
class Quirks:
    """Ways in which a vendor differs from its protocol; data on its row, never code of its own.

    no_stream_usage      refuses `stream_options`, so streamed usage cannot be asked for
    max_tokens_field     the name of the output limit it wants, where it is not the protocol's own
    """

    no_stream_usage: bool = False
    max_tokens_field: Literal["", "max_tokens", "max_completion_tokens"] = ""

    @classmethod
    def from_row(cls, row: Any) -> Quirks:
        """From a row's JSON; raises TypeError or ValueError naming what is wrong."""
        if not isinstance(row, dict):
            raise TypeError("Quirks are an object.")
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(row) - known):
            raise ValueError(f"Unknown quirk {unknown[0]!r}; known are {', '.join(sorted(known))}.")
        quirks = cls(**row)
        if not isinstance(quirks.no_stream_usage, bool):
            raise TypeError("no_stream_usage is true or false.")
        if quirks.max_tokens_field not in ("", "max_tokens", "max_completion_tokens"):
            raise ValueError("max_tokens_field is max_tokens or max_completion_tokens.")
        return quirks


@dataclass(frozen=True, slots=True)
class Target:
    """One provider model to send a call to, with everything needed to reach it.

    `secret` is None when the provider wants none, or when no usable credential exists although it does
    (`missing_credential`). `owns_credential` tells whether it is the tenant's own.
    """

    provider: str
    protocol: Protocol
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

    @property
    def name(self) -> str:
        return f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True)
class Route:
    """What a model name means for one caller: the targets, in the order they are tried."""

    alias: str
    native_only: bool
    drop_unsupported: bool
    targets: tuple[Target, ...]
