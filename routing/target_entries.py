"""The models behind an alias as a file lists them: `provider/model`, or an object that says more.

A text means the next tier, the usual weight, and every call. An object has `model` and any of `tier`,
`weight`, `enabled` and `when`; without `tier` it is the next one, too. What numbers tiers have makes no
difference, only their order does, so they are written from 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from django.core.exceptions import ValidationError

from routing.validators import validate_when

USUAL_WEIGHT = 100
MAX_TIER = 32_767
_WORDS = ("model", "tier", "weight", "enabled", "when")


@dataclass(frozen=True, slots=True)
class TargetEntry:
    """One model behind an alias."""

    model: str
    tier: int
    weight: int = USUAL_WEIGHT
    when: dict[str, Any] = field(default_factory=dict)
    is_enabled: bool = True


def read(value: Any) -> list[TargetEntry]:
    """Read a list, in the order of its tiers. Raise ValidationError."""
    if not isinstance(value, list):
        raise ValidationError("Write a list of provider/model, or of objects with 'model'.")
    entries: list[TargetEntry] = []
    for each in value:
        tier = entries[-1].tier + 1 if entries else 0
        entries.append(_entry(each, tier))
    return sorted(entries, key=lambda entry: entry.tier)


def normal(entries: Iterable[TargetEntry]) -> list[Any]:
    """Write entries, which come in the order of their tiers, as shortly as they can be."""
    written: list[Any] = []
    numbers: dict[int, int] = {}
    latest = -1
    for entry in entries:
        tier = numbers.setdefault(entry.tier, len(numbers))
        written.append(_written(replace(entry, tier=tier), latest + 1))
        latest = tier
    return written


def _written(entry: TargetEntry, next_tier: int) -> Any:
    told: dict[str, Any] = {"model": entry.model}
    if entry.tier != next_tier:
        told["tier"] = entry.tier
    if entry.weight != USUAL_WEIGHT:
        told["weight"] = entry.weight
    if not entry.is_enabled:
        told["enabled"] = False
    if entry.when:
        told["when"] = entry.when
    return entry.model if len(told) == 1 else told


def _entry(value: Any, tier: int) -> TargetEntry:
    if isinstance(value, str):
        return TargetEntry(value, tier)
    if not isinstance(value, dict) or not isinstance(value.get("model"), str):
        raise ValidationError("Write provider/model, or an object with 'model'.")
    if unknown := sorted(str(word) for word in set(value) - set(_WORDS)):
        raise ValidationError(f"{unknown[0][:100]!r} is not one of {', '.join(_WORDS)}.")
    enabled, when = value.get("enabled", True), value.get("when", {})
    if not isinstance(enabled, bool):
        raise ValidationError("enabled is true or false.")
    validate_when(when)
    return TargetEntry(
        value["model"],
        _number(value, "tier", tier, MAX_TIER),
        _number(value, "weight", USUAL_WEIGHT, 1000),
        when,
        is_enabled=enabled,
    )


def _number(value: dict[str, Any], name: str, usual: int, most: int) -> int:
    number = value.get(name, usual)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= most:
        raise ValidationError(f"{name} is a whole number from 0 to {most}.")
    return number
