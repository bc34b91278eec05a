"""Every upstream call has one row, and the row says what happened."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from routing.models import Provider
from tenants.ledger.row_ids import request_id_of
from tenants.models import SpoolPosition, UsageRow
from tests.responses_api.accounting.conftest import DOLLAR, INPUT_PICO, OUTPUT_PICO, Rows, budget
from tests.support import rows
from tests.support.live import LiveGateway
from tests.support.rows import Customer

pytestmark = pytest.mark.persistence

Post = Callable[..., httpx.Response]
DOORS = ("chat", "responses")
each_cell = pytest.mark.parametrize(
    ("door", "protocol"), [(door, protocol) for door in DOORS for protocol in rows.PROTOCOLS]
)
streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])


def charged(row: UsageRow) -> int:
    """Calculate by hand what the row must cost."""
    pico = row.input_fresh * INPUT_PICO + row.output_visible * OUTPUT_PICO
    assert pico % 1000 == 0
    return pico // 1000


@each_cell
@streamed_or_not
def test_a_call_has_a_row_with_the_providers_usage_at_the_published_price(
    post: Post, booked: Rows, buyer: Customer, door: str, protocol: str, stream: bool
) -> None:
    answer = post(door, f"good-{protocol}", "Hello there", stream=stream)
    assert answer.status_code == 200
    (row,) = booked()
    assert (row.status, row.usage_source, row.http_status) == ("completed", "provider", 200)
    assert request_id_of(row.id) == answer.headers["x-request-id"]
    assert (row.leg, row.tenant_slug, row.key_public_id) == (0, "buyer", buyer.key.public_id)
    assert (row.alias, row.provider, row.upstream_model) == (
        f"good-{protocol}", f"sandbox-{protocol}", "good",
    )  # fmt: skip
    assert (row.route, row.streamed, row.background, row.websocket) == (door, stream, False, False)
    assert row.input_fresh > 0
    assert row.output_visible > 0
    assert row.charge_nano == row.cost_nano == charged(row)
    assert row.unfunded_nano == 0
    assert row.charge_input_fresh + row.charge_output_visible == row.charge_nano


@each_cell
def test_a_stream_that_is_cut_is_charged_for_what_passed_by(
    post: Post, booked: Rows, buyer: Customer, door: str, protocol: str
) -> None:
    post(door, f"cut-{protocol}", "[chunks=20][after=5]", stream=True)
    (row,) = booked()
    assert (row.status, row.usage_source, row.error_code) == ("failed", "counted", "upstream_cut")
    assert row.output_visible >= 5
    assert row.charge_nano == charged(row)


@each_cell
@pytest.mark.parametrize("fault", ["500", "401", "429", "error-first"])
def test_a_call_the_provider_refused_has_a_row_that_costs_nothing(
    post: Post, booked: Rows, buyer: Customer, door: str, protocol: str, fault: str
) -> None:
    """The only lane is asked again where it was overloaded: then each attempt has such a row."""
    answer = post(door, f"{fault}-{protocol}", stream=True)
    assert answer.status_code >= 400
    made = booked()
    for row in made:
        assert (row.status, row.usage_source) == ("failed", "none")
        assert (row.charge_nano, row.cost_nano, sum(row.tokens)) == (0, 0, 0)
        assert row.error_code
        assert request_id_of(row.id) == answer.headers["x-request-id"]
    assert [row.leg for row in made] == list(range(len(made)))
    *before, last = made
    assert all(row.absorbed for row in before)
    assert not last.absorbed
    assert len(made) <= (3 if last.error_code == "upstream_overloaded" else 1)


def test_each_attempt_of_a_fallback_has_a_row_of_its_own(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer
) -> None:
    provider = Provider.objects.get(name="sandbox-chat")
    rows.alias("both", (provider, "sandbox-fault-500"), (provider, "good"))
    answer = post("chat", "both")
    failed, good = booked()
    assert (failed.leg, failed.status, good.leg, good.status) == (0, "failed", 1, "completed")
    assert {request_id_of(row.id) for row in (failed, good)} == {answer.headers["x-request-id"]}
    assert [row.absorbed for row in (failed, good)] == [True, False]


def test_a_failure_is_absorbed_only_where_another_target_was_asked(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer
) -> None:
    """The last failure of a request is its error, also where a further target could not be asked."""
    provider = Provider.objects.get(name="sandbox-chat")
    locked = rows.provider("chat", gateway.sandbox.base_url, name="locked", auth_kind="bearer")
    rows.alias("failing", (provider, "sandbox-fault-500"), (provider, "sandbox-fault-429"))
    rows.alias("half", (provider, "sandbox-fault-500"), (locked, "good"))
    for alias in ("failing", "half"):
        assert post("chat", alias).status_code >= 400
    assert [(row.alias, row.status, row.absorbed) for row in booked()] == [
        ("failing", "failed", True),
        ("failing", "failed", False),
        ("half", "failed", False),
    ]


def test_a_row_says_what_was_held_for_it(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer
) -> None:
    post("chat", "good-chat", max_completion_tokens=50)
    budget(buyer, DOLLAR)
    gateway.catch_up()
    post("chat", "good-chat", max_completion_tokens=50)
    unbound, bound = booked()
    assert unbound.held_nano is None
    assert bound.held_nano is not None
    assert bound.held_nano >= 50 * OUTPUT_PICO // 1000 > bound.charge_nano > 0
    assert (bound.guardrail_outcome, bound.cache_outcome, bound.units) == ("", "", None)


def test_a_refused_request_has_no_row(post: Post, booked: Rows, buyer: Customer) -> None:
    assert post("chat", "unknown").status_code == 404
    assert post("chat", "good-chat", messages=1).status_code == 400
    assert booked() == []


def test_end_user_and_tags_are_kept_and_no_text_is(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer
) -> None:
    post(
        "responses",
        "good-chat",
        "a secret text",
        user="old-name",
        safety_identifier="u-7",
        metadata={"team": "blue"},
    )
    (row,) = booked()
    assert (row.end_user, row.tags) == ("u-7", {"team": "blue"})
    assert "secret text" not in str(row.__dict__)


def test_an_unpriced_model_is_served_and_the_row_says_that_it_has_no_price(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer
) -> None:
    rows.alias("free", (Provider.objects.get(name="sandbox-chat"), "new-model"))
    assert post("chat", "free").status_code == 200
    (row,) = booked()
    assert (row.cost_version, row.charge_version, row.charge_nano) == (None, None, 0)
    assert row.output_visible > 0


def test_a_stream_without_usage_is_counted(post: Post, booked: Rows, buyer: Customer) -> None:
    post("chat", "no-usage-chat", "[chunks=30]", stream=True)
    (row,) = booked()
    assert (row.usage_source, row.status) == ("counted", "completed")
    assert row.output_visible >= 30


def test_the_ledger_knows_when_a_key_was_last_used(
    post: Post, booked: Rows, buyer: Customer
) -> None:
    post("chat", "good-chat")
    booked()
    buyer.key.refresh_from_db()
    assert buyer.key.last_used_at is not None
    assert SpoolPosition.objects.get(is_done=False).unread_bytes == 0
