"""The page on prices: operators make and publish versions, tenant staff look at their own."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.test import Client

from tenants.models import PriceVersion
from tenants.prices import publishing
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line
from tests.console.pages import act, formset, price_form, text, url
from tests.console.world import World

pytestmark = pytest.mark.django_db

INPUT = {
    "token_class": "input_fresh",
    "service_tier": "default",
    "above_tokens": 0,
    "dollars": "$0.0375",
}
OUTPUT = {**INPUT, "token_class": "output_visible", "dollars": "0.000001"}
PAST = datetime(2020, 1, 1, tzinfo=UTC)


def draft(**changes: object) -> PriceVersion:
    lines = [Line("input_fresh", 1), Line("output_visible", 2)]
    subject = changes.pop("subject", Subject.charge("drafted"))
    assert isinstance(subject, Subject)
    return publishing.draft(subject, lines, PAST, "test")


def test_an_operator_makes_and_publishes_a_version(operator: Client) -> None:
    made = operator.post(url(PriceVersion, "add"), price_form(INPUT, OUTPUT))
    assert made.status_code == 302, text(made)
    version = PriceVersion.objects.get(model="new-alias")
    assert version.published_at is None
    assert "0.0375" in text(operator.get(url(version, "change")))

    asked = text(act(operator, PriceVersion, "publish", version))
    assert "Publish 1 price version" in asked
    assert "2999-01-01 00:00 UTC" in asked
    version.refresh_from_db()
    assert version.published_at is None

    act(operator, PriceVersion, "publish", version, post="yes")

    version.refresh_from_db()
    assert version.published_at is not None
    assert version.published_by == "operator"


def test_a_draft_is_changed_and_deleted(operator: Client) -> None:
    version = draft()
    line, other = version.lines.order_by("pk")
    forms = formset(
        "lines",
        {**INPUT, "id": line.pk, "version": version.pk, "dollars": "0.000009"},
        {**OUTPUT, "id": other.pk, "version": version.pk},
        initial=2,
    )
    answer = operator.post(url(version, "change"), {**price_form(), **forms})
    assert answer.status_code == 302, text(answer)
    line.refresh_from_db()
    assert line.pico_per_token == 9

    operator.post(url(version, "delete"), {"post": "yes"})
    assert not PriceVersion.objects.filter(pk=version.pk).exists()


def test_a_price_that_is_none_is_refused_at_its_field(operator: Client) -> None:
    for typed, told in (("-1", "not a price"), ("0.0000001", "finer"), ("x", "not an amount")):
        answer = operator.post(
            url(PriceVersion, "add"), price_form({**INPUT, "dollars": typed}, OUTPUT)
        )
        assert told in text(answer)
    assert not PriceVersion.objects.filter(model="new-alias").exists()


def test_a_published_version_is_shown_and_not_changed(world: World, operator: Client) -> None:
    version = world.platform.price
    page = text(operator.get(url(version, "change")))
    assert "1.00" in page
    assert 'name="model"' not in page
    assert 'name="lines-0-dollars"' not in page
    assert operator.post(url(version, "change"), price_form(model="else")).status_code == 403
    assert operator.post(url(version, "delete"), {"post": "yes"}).status_code == 403
    act(operator, PriceVersion, "delete_selected", version, post="yes")
    assert PriceVersion.objects.get(pk=version.pk).model == "plat-alias"


def test_a_draft_dated_in_the_past_is_published_only_where_that_is_asked(operator: Client) -> None:
    version = draft()
    act(operator, PriceVersion, "publish", version, post="yes")
    assert "in the past" in text(operator.get(url(PriceVersion, "changelist")))
    version.refresh_from_db()
    assert version.published_at is None

    act(operator, PriceVersion, "publish_from_now", version, post="yes")
    version.refresh_from_db()
    assert version.effective_from == version.published_at


def test_a_cost_that_names_no_provider_is_refused(operator: Client) -> None:
    answer = operator.post(url(PriceVersion, "add"), price_form(INPUT, OUTPUT, book="cost"))
    assert "A cost is of a provider" in text(answer)


def test_tenant_staff_see_what_was_published_for_them_and_no_more(
    world: World, admin: Client
) -> None:
    cost = publishing.set_price(
        Subject.cost("secret-provider", "m"),
        [Line("input_fresh", 1), Line("output_visible", 2)],
        "test",
        PAST,
    )
    drafted = draft(subject=Subject.charge("drafted", world.ours.tenant))
    page = text(admin.get(url(PriceVersion, "changelist")))
    assert "ours-alias" in page
    assert "secret-provider" not in page
    assert "drafted" not in page
    assert "plat-alias" not in page
    for hidden in (cost, drafted, world.platform.price, world.theirs.price):
        assert admin.get(url(hidden, "change")).status_code == 404


def test_tenant_staff_make_and_publish_nothing(world: World, admin: Client) -> None:
    drafted = draft(subject=Subject.charge("drafted", world.ours.tenant))
    assert admin.get(url(PriceVersion, "add")).status_code == 403
    assert admin.post(url(PriceVersion, "add"), price_form(INPUT, OUTPUT)).status_code == 403
    act(admin, PriceVersion, "publish_from_now", drafted, post="yes")
    drafted.refresh_from_db()
    assert drafted.published_at is None
