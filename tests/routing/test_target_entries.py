"""Targets in files, and tiers put into another order."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from routing import target_entries, target_order
from routing.models import Alias, Target
from tenants.access.access import OPERATOR
from tests.plugins.cases import cases
from tests.support import rows


@cases(
    ("written", "normal"),
    [
        (["p/a", "p/b"], ["p/a", "p/b"]),
        ([{"model": "p/a"}, {"model": "p/b", "tier": 1, "weight": 100}], ["p/a", "p/b"]),
        (
            [{"model": "p/a", "tier": 3}, {"model": "p/b", "tier": 3, "weight": 0}, "p/c"],
            ["p/a", {"model": "p/b", "tier": 0, "weight": 0}, "p/c"],
        ),
        (
            [{"model": "p/a", "tier": 9}, {"model": "p/b", "tier": 2, "enabled": False}],
            [{"model": "p/b", "enabled": False}, "p/a"],
        ),
        (
            [{"model": "p/a", "when": {"stream": True}}],
            [{"model": "p/a", "when": {"stream": True}}],
        ),
    ],
)
def test_targets_are_written_as_shortly_as_they_can_be(
    written: list[Any], normal: list[Any]
) -> None:
    assert target_entries.normal(target_entries.read(written)) == normal
    assert target_entries.normal(target_entries.read(normal)) == normal


@cases(
    ("written", "told"),
    [
        ("p/a", "Write a list"),
        ([1], "an object with 'model'"),
        ([{"tier": 1}], "an object with 'model'"),
        ([{"model": "p/a", "colour": 1}], "'colour' is not one of"),
        ([{"model": "p/a", "weight": 1001}], "weight is a whole number from 0 to 1000"),
        ([{"model": "p/a", "tier": True}], "tier is a whole number"),
        ([{"model": "p/a", "enabled": 1}], "enabled is true or false"),
        ([{"model": "p/a", "when": {"colour": 1}}], "Unknown condition 'colour'"),
    ],
)
def test_what_is_wrong_with_targets_is_told(written: Any, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        target_entries.read(written)


def tiers_of(alias: Alias) -> list[list[str]]:
    found: dict[int, list[str]] = {}
    for row in Target.objects.filter(alias=alias).order_by("position", "pk"):
        found.setdefault(row.position, []).append(row.provider_model.upstream_id)
    assert sorted(found) == list(range(len(found)))
    return list(found.values())


def keys_of(alias: Alias, names: str) -> list[int]:
    by_name = {row.provider_model.upstream_id: row.pk for row in alias.targets.all()}
    return [by_name[name] for name in names]


@pytest.mark.django_db
def test_reordering_moves_tiers_and_neighbours_stay_together() -> None:
    up = rows.provider("chat", "https://up.example/v1", name="up")
    alias = rows.alias("m", *((up, name) for name in "abcd"))
    Target.objects.filter(alias=alias, position=1).update(position=0)

    def reorder(names: str) -> list[list[str]]:
        target_order.put_in_order(OPERATOR, alias, keys_of(alias, names))
        return tiers_of(alias)

    assert reorder("cabd") == [["c"], ["a", "b"], ["d"]]
    assert reorder("abcd") == [["a", "b"], ["c"], ["d"]]
    assert reorder("acbd") == [["a"], ["c"], ["b"], ["d"]]


@pytest.mark.django_db
def test_a_target_leaves_its_tier_or_passes_the_next_one_whole() -> None:
    up = rows.provider("chat", "https://up.example/v1", name="up")
    alias = rows.alias("m", *((up, name) for name in "abcd"))
    Target.objects.filter(alias=alias, position=1).update(position=0)

    def move(name: str, steps: int) -> list[list[str]]:
        target_order.move(OPERATOR, alias, keys_of(alias, name)[0], steps)
        return tiers_of(alias)

    target_order.put_in_order(OPERATOR, alias, keys_of(alias, "abcd"))
    assert move("c", -1) == [["c"], ["a", "b"], ["d"]]
    assert move("c", -1) == [["c"], ["a", "b"], ["d"]]
    assert move("c", 1) == [["a", "b"], ["c"], ["d"]]
    assert move("b", 1) == [["a"], ["b"], ["c"], ["d"]]
    Target.objects.filter(alias=alias, position=1).update(position=0)
    target_order.put_in_order(OPERATOR, alias, keys_of(alias, "abcd"))
    assert move("b", -1) == [["b"], ["a"], ["c"], ["d"]]
    assert move("d", 1) == [["b"], ["a"], ["c"], ["d"]]
