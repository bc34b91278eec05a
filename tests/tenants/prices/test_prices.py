"""Price books: what counts when, what wins, and that nothing published changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError

from gateway_project.lib.secret import Secret
from routing import credentials, resolve
from routing.route import Route
from tenants import revision
from tenants.keys import caller
from tenants.models import PriceLine, PriceVersion
from tenants.prices import book, publishing
from tenants.prices.history import FREE, UNPRICED, History
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line
from tests.support import rows
from tests.support.rows import Customer

pytestmark = [pytest.mark.django_db, pytest.mark.persistence]

NOW = datetime(2026, 11, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=30)
MODEL = Subject.cost("up", "m-1")
ALIAS = Subject.charge("mine")


def lines(pico: int) -> list[Line]:
    return [Line("input_fresh", pico), Line("output_visible", 4 * pico)]


def publish(subject: Subject, pico: int, at: datetime = NOW) -> PriceVersion:
    version = publishing.draft(subject, lines(pico), at)
    return publishing.publish(version, "test", NOW)


def input_price(history: History, at: datetime) -> int | None:
    terms = history.at(at.timestamp())
    return None if terms is None else terms.step("default", 0).picos[0]


def route(customer: Customer, name: str = "mine") -> Route:
    found = caller.find_by_id(customer.tenant.pk, customer.key.public_id)
    assert found is not None
    route = resolve.find(found, name)
    assert route is not None
    return route


def test_a_draft_does_not_count() -> None:
    publishing.draft(MODEL, lines(5), NOW)
    assert book.cost("up", "m-1") == UNPRICED


def test_a_version_counts_from_its_instant_until_the_next_ones() -> None:
    publish(MODEL, 5)
    publish(MODEL, 7, LATER)
    history = book.cost("up", "m-1")
    assert input_price(history, NOW - timedelta(seconds=1)) is None
    assert input_price(history, NOW) == 5
    assert input_price(history, LATER - timedelta(microseconds=1)) == 5
    assert input_price(history, LATER) == 7


def test_without_a_price_of_its_own_an_alias_is_passed_on_at_cost() -> None:
    publish(MODEL, 5)
    cost = book.cost("up", "m-1")
    assert book.charge(1, "mine", cost) == cost


def test_a_tenants_own_price_wins_as_a_whole_from_its_first_version_on() -> None:
    acme, other = rows.customer("acme").tenant, rows.customer("other").tenant
    publish(ALIAS, 10)
    publish(ALIAS, 12, LATER + timedelta(days=1))
    publish(Subject.charge("mine", acme), 3, LATER)
    own, others = (book.charge(tenant.pk, "mine", UNPRICED) for tenant in (acme, other))
    assert [input_price(own, at) for at in (NOW, LATER, LATER + timedelta(days=2))] == [10, 3, 3]
    assert [input_price(others, at) for at in (NOW, LATER, LATER + timedelta(days=2))] == [
        10,
        10,
        12,
    ]


def test_a_price_in_the_past_is_refused_unless_it_may_count_from_now() -> None:
    version = publishing.draft(MODEL, lines(5), NOW - timedelta(days=1))
    with pytest.raises(ValidationError, match="in the past"):
        publishing.publish(version, "test", NOW)
    published = publishing.publish(version, "test", NOW, or_from_now=True)
    assert (published.effective_from, published.published_at) == (NOW, NOW)


def test_prices_that_calls_cannot_be_rated_by_are_refused() -> None:
    version = publishing.draft(MODEL, [Line("input_fresh", 5)], NOW)
    with pytest.raises(ValidationError, match="no price of output_visible"):
        publishing.publish(version, "test", NOW)


def test_no_class_has_two_prices() -> None:
    with pytest.raises(ValidationError, match="two prices"):
        publishing.draft(MODEL, [*lines(5), Line("input_fresh", 6)], NOW)


def test_two_versions_do_not_take_effect_at_one_instant() -> None:
    publish(MODEL, 5)
    with pytest.raises(ValidationError, match="same time"):
        publish(MODEL, 6)


def test_what_is_published_never_changes() -> None:
    version = publish(MODEL, 5)
    line = version.lines.all()[0]
    with pytest.raises(ValidationError, match="already"):
        publishing.publish(version, "test", NOW)
    version.source = "elsewhere"
    line.pico_per_token = 1
    writes = [
        version.save,
        version.delete,
        line.save,
        line.delete,
        lambda: PriceVersion.objects.update(source="elsewhere"),
        lambda: PriceVersion.objects.all().delete(),
        lambda: PriceLine.objects.update(pico_per_token=1),
        lambda: version.lines.all().delete(),
        lambda: PriceLine.objects.create(
            version=version, token_class="cache_read", pico_per_token=1
        ),
        lambda: PriceLine.objects.bulk_create(
            [PriceLine(version=version, token_class="cache_read", pico_per_token=1)]
        ),
    ]
    for write in writes:
        with pytest.raises(ValidationError, match="never changes"):
            write()
    assert input_price(book.cost("up", "m-1"), NOW) == 5


def test_a_line_does_not_leave_a_published_version() -> None:
    line = publish(MODEL, 5).lines.all()[0]
    line.version = publishing.draft(ALIAS, lines(5), NOW)
    with pytest.raises(ValidationError, match="never changes"):
        line.save()


def test_a_draft_may_change_and_go() -> None:
    version = publishing.draft(MODEL, lines(5), NOW)
    version.lines.update(pico_per_token=6)
    version.delete()
    assert not PriceLine.objects.exists()


def test_publishing_is_seen_by_workers() -> None:
    version = publishing.draft(MODEL, lines(5), NOW)
    before = revision.current()
    publishing.publish(version, "test", NOW)
    assert revision.current() > before


def test_a_route_knows_the_cost_and_the_charge_of_each_target() -> None:
    customer = rows.customer()
    up = rows.provider("chat", "https://up.example/v1", name="up")
    rows.alias("mine", (up, "m-1"), (up, "m-2"))
    publish(MODEL, 5)
    publish(ALIAS, 9)
    first, second = route(customer).targets
    assert [input_price(h, NOW) for h in (first.cost, first.charge)] == [5, 9]
    assert (second.cost, input_price(second.charge, NOW)) == (UNPRICED, 9)


def test_what_a_tenant_pays_itself_costs_nothing_and_is_charged_only_by_the_charge_book() -> None:
    customer = rows.customer()
    up = rows.provider("chat", "https://up.example/v1", name="up", secret="sk-ours")
    credentials.create(up, Secret("sk-theirs"), tenant=customer.tenant)
    own = rows.provider("chat", "https://own.example/v1", name="own", tenant=customer.tenant)
    rows.alias("mine", (up, "m-1"))
    rows.alias("ours", (own, "m-1"), tenant=customer.tenant)
    publish(MODEL, 5)
    publish(Subject.cost("own", "m-1"), 5)
    both = [*route(customer).targets, *route(customer, "ours").targets]
    assert [(t.cost, t.charge) for t in both] == [(FREE, FREE)] * 2
    publish(ALIAS, 2, LATER)
    publish(Subject.charge(book.OWN_PROVIDERS), 3, LATER)
    both = [*route(customer).targets, *route(customer, "ours").targets]
    assert [(t.cost, t.charge.is_free) for t in both] == [(FREE, True)] * 2
    charges = [[input_price(t.charge, at) for at in (NOW, LATER)] for t in both]
    assert charges == [[None, 2], [None, 3]]


@pytest.mark.parametrize("name", ["up/m-1", "up@m-1"])
def test_a_direct_target_is_charged_what_the_model_is_however_it_is_written(name: str) -> None:
    customer = rows.customer(allow_direct_targets=True)
    up = rows.provider("chat", "https://up.example/v1", name="up")
    rows.alias("mine", (up, "m-1"))
    publish(MODEL, 5)
    assert input_price(route(customer, name).targets[0].charge, NOW) == 5
    publish(ALIAS, 9)
    assert input_price(route(customer, name).targets[0].charge, NOW) == 9
    publish(Subject.charge("up/m-1"), 8)
    found = route(customer, name)
    assert input_price(found.targets[0].charge, NOW) == 8
    assert (found.alias, found.requested_model or "up/m-1") == ("up/m-1", name)


def test_prices_are_two_queries_however_many_targets(django_assert_num_queries) -> None:
    customer = rows.customer()
    up = rows.provider("chat", "https://up.example/v1", name="up")
    rows.alias("mine", *((up, f"m-{n}") for n in range(8)))
    for n in range(8):
        publish(Subject.cost("up", f"m-{n}"), 5)
    found = caller.find_by_id(customer.tenant.pk, customer.key.public_id)
    assert found is not None
    with django_assert_num_queries(
        2 + 1 + 2
    ):  # the alias and its targets, their credentials, prices
        resolve.find(found, "mine")
