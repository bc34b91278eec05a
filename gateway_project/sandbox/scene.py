"""Describe to a fault the request it spoils."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scene:
    """The setting of a fault. `after` is the number of output deltas that still go well."""

    protocol: str
    stream: bool
    request_id: str
    after: int
