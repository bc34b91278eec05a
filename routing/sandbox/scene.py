"""Where a fault plays: what it must know of the request it spoils."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scene:
    """`after` is the number of output deltas that still go well."""

    protocol: str
    stream: bool
    request_id: str
    after: int
