"""Explaining a route by the management API: nobody learns of it what they may not see."""

from __future__ import annotations

from typing import Any

import pytest

from routing.models import Target
from tenants.models import Tenant
from tests.api.callers import Api, of_member, of_operator
from tests.console.world import CANARY, SECRET, World

pytestmark = pytest.mark.django_db


def explained(who: Api, **question: Any) -> dict[str, Any]:
    answer = who.post("explain-route", question)
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


def test_a_tenant_s_own_alias_is_explained_with_its_reasons(world: World) -> None:
    owner = of_member("owner", world.ours.tenant)
    Target.objects.filter(alias=world.ours.alias).update(when={"tags.team": "search"})
    body = {"input": "Hi", "metadata": {"team": "search"}}
    told = explained(owner, alias=world.ours.alias.pk, body=body)
    assert [each["place"] for each in told["lanes"]] == [1]
    assert told["facts"]["tags"] == {"team": "search"}
    told = explained(owner, alias=world.ours.alias.pk, key=world.ours.key.public_id)
    assert told["refusal"]
    assert [(each["reason"], each["detail"]) for each in told["lanes"]] == [("when", "tags.team")]


def test_what_is_anothers_is_like_what_is_not_there(world: World) -> None:
    owner, theirs = of_member("owner", world.ours.tenant), world.theirs
    ours = world.ours.alias.pk
    for question in (
        {"alias": theirs.alias.pk},
        {"alias": ours, "key": theirs.key.public_id},
        {"alias": ours, "tenant": theirs.tenant.pk},
    ):
        answer = owner.post("explain-route", question)
        assert answer.status_code == 400
        assert CANARY not in answer.content.decode()
        absent = {
            name: value if value == ours else _absent(value) for name, value in question.items()
        }
        assert answer.json() == owner.post("explain-route", absent).json()


def _absent(value: Any) -> Any:
    return "0000000000" if isinstance(value, str) else 2**40


def test_lanes_at_the_platform_are_shown_only_where_upstreams_are(world: World) -> None:
    owner, platforms = of_member("owner", world.ours.tenant), world.platform.alias.pk
    told = explained(owner, alias=platforms, tenant=world.ours.tenant.pk)
    assert [each["credential"] for each in told["lanes"]] == [None] * len(told["lanes"])
    assert told["lanes"]
    Tenant.objects.filter(pk=world.ours.tenant.pk).update(shows_upstreams=False)
    told = explained(owner, alias=platforms, tenant=world.ours.tenant.pk)
    assert (told["lanes"], told["hidden_lanes"] > 0) == ([], True)
    told = explained(of_operator(), alias=platforms)
    assert told["lanes"]
    assert SECRET not in str(told)


def test_wrong_questions_are_refused_by_field(world: World) -> None:
    operator, alias = of_operator(), world.ours.alias.pk
    for question, field in (
        ({}, "alias"),
        ({"alias": "1"}, "alias"),
        ({"alias": alias, "body": []}, "body"),
        ({"alias": alias, "body": {"input": 5}}, "body"),
        ({"alias": alias, "route": "telex"}, "route"),
        ({"alias": alias, "tenant": True}, "tenant"),
        ({"alias": alias, "colour": 1}, "colour"),
    ):
        answer = operator.post("explain-route", question)
        assert answer.status_code == 400
        assert field in answer.json()["errors"], (question, answer.json())
