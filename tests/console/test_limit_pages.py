"""The page on rate limits: what is given, to whom, and by whom."""

from __future__ import annotations

import pytest
from django.test import Client

from tenants.models import Membership, RateLimit
from tests.console.pages import text, url
from tests.console.world import World, staff

pytestmark = pytest.mark.django_db


def form(world: World, **fields: object) -> dict[str, object]:
    return {
        "tenant": world.ours.tenant.pk,
        "api_key": "",
        "metric": "requests",
        "amount": "60",
        "window": "minute",
        **fields,
    }


def test_an_operator_limits_a_tenant_and_a_key(world: World, operator: Client) -> None:
    for key in ("", world.ours.key.pk):
        answer = operator.post(url(RateLimit, "add"), form(world, api_key=key))
        assert answer.status_code == 302, text(answer)
    operator.get(
        url(RateLimit, "changelist")
    )  # says that they were made, and so names them once more
    page = text(operator.get(url(RateLimit, "changelist")))
    assert page.count(">60 requests a minute</a>") == 2
    assert "1,000 requests a day" in page


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"amount": "0"}, "greater than or equal to 1"),
        ({"amount": "many"}, "whole number"),
        ({"window": ""}, "Requests and tokens have a window"),
        ({"metric": "concurrency"}, "concurrent calls do not"),
        ({"metric": "concurrency", "window": ""}, ""),
        ({"window": "day", "api_key": "ours"}, "There is already a limit of this kind."),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_by_name(
    world: World, operator: Client, fields: dict[str, object], said: str
) -> None:
    if "api_key" in fields:
        fields = {**fields, "api_key": world.ours.key.pk}
    before = RateLimit.objects.count()
    answer = operator.post(url(RateLimit, "add"), form(world, **fields))
    assert (answer.status_code, RateLimit.objects.count()) == (
        (200, before) if said else (302, before + 1)
    )
    assert said in text(answer)


def test_tenant_staff_limit_their_keys_and_do_not_lift_what_binds_them(world: World) -> None:
    admin = staff(Membership.Role.ADMIN, world.ours.tenant)
    made = admin.post(url(RateLimit, "add"), form(world, api_key=world.ours.key.pk))
    assert made.status_code == 302, text(made)
    assert "This field is required" in text(admin.post(url(RateLimit, "add"), form(world)))
    of_tenant = RateLimit.objects.create(
        tenant=world.ours.tenant, metric="tokens", window="day", amount=5
    )
    admin.post(url(of_tenant, "change"), form(world, amount="1000000"))
    assert admin.post(url(of_tenant, "delete"), {"post": "yes"}).status_code == 403
    of_tenant.refresh_from_db()
    assert of_tenant.amount == 5


def test_a_key_of_another_tenant_is_refused(world: World, operator: Client) -> None:
    before = RateLimit.objects.count()
    answer = operator.post(url(RateLimit, "add"), form(world, api_key=world.theirs.key.pk))
    assert answer.status_code == 200
    assert RateLimit.objects.count() == before
