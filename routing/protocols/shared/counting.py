"""Read what a route that counts tokens answers, and tell whether a server has such a route at all."""

from __future__ import annotations

from gateway_project.lib.errors import UpstreamMalformed
from gateway_project.lib.json import Json
from routing.protocols.shared.fields import parse
from routing.route import ResolvedTarget

_ABSENT = frozenset({404, 405, 501})


def read_input_tokens(raw: bytes, target: ResolvedTarget) -> int:
    """Read the number in a counter's answer. Raises UpstreamMalformed if there is none."""
    tokens = (parse(raw) or {}).get("input_tokens")
    if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens >= 0:
        return tokens
    raise UpstreamMalformed(f"The provider {target.provider!r} did not count the tokens.")


def is_absent(status: int) -> bool:
    """Tell whether an HTTP status says that the server has no such route. An unknown model looks the same."""
    return status in _ABSENT


def pick(names: tuple[str, ...], body: Json) -> Json:
    """Keep only the fields that a counter takes."""
    return {name: body[name] for name in names if name in body}
