"""Check the shape of a file: its sections, their objects, and the names of fields."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError

from tenants.configuration import places
from tenants.configuration.kinds import ConfigurationKind, all_kinds
from tenants.configuration.tables import TENANTS

Json = dict[str, Any]
MOST_ERRORS = 20


def check(document: Json) -> None:
    """Raise ValidationError that names every wrong place, up to MOST_ERRORS."""
    errors: dict[str, str] = {}
    _check_names(document, {"platform", "tenants"}, "", errors)
    if "platform" in document:
        _check_sections(document["platform"], _sections(platform=True), (), "platform", errors)
    tenants = _objects(document.get("tenants", []), "tenants", errors)
    for place, tenant in tenants:
        _check_sections(tenant, _sections(platform=False), TENANTS.all_fields, place, errors)
        _check_needed(TENANTS, tenant, place, errors)
    if errors:
        raise ValidationError(dict(list(errors.items())[:MOST_ERRORS]))


def _sections(*, platform: bool) -> dict[str, ConfigurationKind]:
    kinds = all_kinds()
    return {
        kind.section: kind for kind in kinds if (kind.on_platform if platform else kind.in_tenants)
    }


def _check_sections(
    part: Any,
    sections: Mapping[str, ConfigurationKind],
    fields: Iterable[str],
    place: str,
    errors: dict[str, str],
) -> None:
    if not isinstance(part, dict):
        errors[place] = "Write a mapping; {} for none."
        return
    _check_names(part, {*sections, *fields}, place, errors)
    for name, kind in sections.items():
        within = places.join(place, name)
        for where, found in _objects(part.get(name, []), within, errors):
            _check_names(found, kind.all_fields, where, errors)
            _check_needed(kind, found, where, errors)


def _objects(found: Any, place: str, errors: dict[str, str]) -> list[tuple[str, Json]]:
    if not isinstance(found, list):
        errors[place] = "Write a list; [] for none."
        return []
    objects = [(f"{place}[{index}]", each) for index, each in enumerate(found)]
    errors |= {where: "Write a mapping." for where, each in objects if not isinstance(each, dict)}
    return [(where, each) for where, each in objects if isinstance(each, dict)]


def _check_needed(kind: ConfigurationKind, found: Json, place: str, errors: dict[str, str]) -> None:
    for name, field in kind.all_fields.items():
        if field.is_needed and found.get(name) is None:
            errors[places.join(place, name)] = "This is needed."


def _check_names(found: Json, known: Iterable[str], place: str, errors: dict[str, str]) -> None:
    names = sorted(known)
    for name in found:
        if len(errors) >= MOST_ERRORS:
            return  # to look for what was meant takes time
        if name not in names:
            errors[places.join(place, name)] = _unknown(name, names)


def _unknown(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name[:60], names, n=1)
    if close:
        return f"There is no such field; did you mean {close[0]}?"
    return f"There is no such field; there are {', '.join(names)}."
