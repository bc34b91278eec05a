"""The page on budgets: dollars go in and out exactly, and who may change what."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from tenants.budgets import dollars
from tenants.models import Budget, Membership
from tests.console.pages import formset, text, url
from tests.console.world import World, staff
from tests.plugins.cases import cases

pytestmark = pytest.mark.django_db


def form(world: World, **fields: object) -> dict[str, object]:
    return {
        "tenant": world.ours.tenant.pk,
        "api_key": "",
        "name": "Team",
        "amount_nano": "12.345678901",
        "period": "monthly",
        "mode": "hard",
        "thresholds": "50, 100",
        "alert_emails": "a@example.com\nb@example.com",
        "enabled": "on",
        **formset("windows"),
        **fields,
    }


def test_an_operator_gives_a_budget_in_dollars(world: World, operator: Client) -> None:
    answer = operator.post(url(Budget, "add"), form(world))
    assert answer.status_code == 302, text(answer)
    budget = Budget.objects.get(name="Team")
    assert budget.amount_nano == 12_345_678_901
    assert budget.thresholds == [50, 100]
    assert budget.alert_emails == ["a@example.com", "b@example.com"]
    assert "12.345678901" in text(operator.get(url(budget, "change")))


@cases("amount", ["", "abc", "-1", "NaN", "1e400", "0.0000000001"])
def test_an_amount_that_is_none_is_refused_by_name(
    world: World, operator: Client, amount: str
) -> None:
    answer = operator.post(url(Budget, "add"), form(world, amount_nano=amount))
    assert answer.status_code == 200
    assert "errorlist" in text(answer)
    assert not Budget.objects.filter(name="Team").exists()


def test_tenant_staff_give_budgets_to_keys_and_not_to_their_tenant(world: World) -> None:
    admin = staff(Membership.Role.ADMIN, world.ours.tenant)
    told = admin.post(url(Budget, "add"), form(world))
    assert "This field is required" in text(told)
    assert "One of your keys." in text(told)
    made = admin.post(url(Budget, "add"), form(world, api_key=world.ours.key.pk))
    assert made.status_code == 302, text(made)
    of_tenant = Budget.objects.create(tenant=world.ours.tenant, name="ours", amount_nano=1)
    admin.post(url(of_tenant, "change"), form(world, name="raised"))
    of_tenant.refresh_from_db()
    assert of_tenant.name == "ours"


def test_a_key_of_another_tenant_is_refused(world: World, operator: Client) -> None:
    answer = operator.post(url(Budget, "add"), form(world, api_key=world.theirs.key.pk))
    assert answer.status_code == 200
    assert not Budget.objects.filter(name="Team").exists()


def test_what_is_spent_is_shown(world: World, operator: Client) -> None:
    listed = text(operator.get(url(Budget, "changelist")))
    assert "$1.50 used, $0.00 reserved, $23.50 left of $25.00" in listed
    page = text(operator.get(url(world.ours.budget, "change")))
    assert "$23.50 left of $25.00" in page
    assert "1.50" in page


@pytest.mark.parametrize(
    ("nano", "shown"),
    [(0, "0.00"), (25 * 10**9, "25.00"), (1, "0.000000001"), (-5 * 10**8, "-0.50")],
)
def test_amounts_are_shown_with_every_digit_that_counts(nano: int, shown: str) -> None:
    assert dollars.to_text(nano) == shown
    if nano >= 0:
        assert dollars.to_nano(shown) == nano


def test_operators_choose_once_whether_list_prices_count(world: World, operator: Client) -> None:
    """A tenant that chose it could read the operator's cost of a model from what is spent."""
    admin = staff(Membership.Role.ADMIN, world.ours.tenant)
    of_key = form(world, api_key=world.ours.key.pk, counts_list_price="on")
    assert admin.post(url(Budget, "add"), of_key).status_code == 302
    assert not Budget.objects.get(name="Team").counts_list_price
    made = operator.post(
        url(Budget, "add"), form(world, name="ListPriceHold", counts_list_price="on")
    )
    assert made.status_code == 302, text(made)
    listed = Budget.objects.get(name="ListPriceHold")
    assert listed.counts_list_price
    operator.post(url(listed, "change"), form(world, name="Raised"))
    listed.refresh_from_db()
    assert (listed.name, listed.counts_list_price) == ("Raised", True)
    listed.counts_list_price = False
    with pytest.raises(ValidationError, match="make another budget"):
        listed.full_clean()
