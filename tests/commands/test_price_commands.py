"""import_prices and set_price: nothing without --publish, nothing twice, nothing inexact."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway_project.lib import clock
from routing import seed
from routing.protocols import PROTOCOLS
from tenants.models import PriceVersion
from tenants.prices import book
from tests.commands.running import answer, refusal, text
from tests.plugins.cases import cases
from tests.support import rows
from tests.support.units import known

__all__ = ["known"]

pytestmark = pytest.mark.django_db

LIST = """{"source": "test 1", "list_date": "2026-11-01", "left_out": {}, "vendors": {"up": {
  "url": "https://up.example", "models": [{"id": "m-1", "names": {"equals": "m-1"}, "without": ["web"],
  "prices": [
    {"lines": [["input_fresh", 1], ["output_visible", 2]]},
    {"since": "2026-01-01", "lines": [["input_fresh", 3000000], ["output_visible", 15000000]]},
    {"since": "2999-01-01", "lines": [["input_fresh", 4000000], ["output_visible", 15000000]]}]}]}}}"""


@pytest.fixture
def price_list(tmp_path) -> str:
    path = tmp_path / "list.json"
    path.write_text(LIST)
    up = rows.provider("chat", "https://up.example/v1", name="up")
    rows.alias("mine", (up, "m-1"), (up, "m-2"))
    return str(path)


def imported(price_list: str, *options: str) -> dict[str, Any]:
    return answer("import_prices", "--file", price_list, *options)


def counts(found: dict[str, Any]) -> tuple[int, ...]:
    return tuple(found[name] for name in ("new", "changed", "unchanged", "unknown", "published"))


def input_prices(at: datetime | None = None) -> int | None:
    terms = book.cost("up", "m-1").at((at or clock.now()).timestamp())
    return None if terms is None else terms.step("default", 0).picos[0]


def test_a_list_is_shown_and_nothing_published(price_list: str) -> None:
    found = imported(price_list)
    assert counts(found) == (1, 0, 0, 1, 0)
    assert found["source"] == "test 1 of 2026-11-01"
    known, unknown = found["models"]
    assert (known["model"], known["state"], known["without"]) == ("m-1", "new", ["web"])
    assert (unknown["model"], unknown["state"], unknown["prices"]) == ("m-2", "unknown", [])
    assert not PriceVersion.objects.exists()
    assert "Nothing was published" in text("import_prices", "--file", price_list)


def test_a_list_is_published_once_with_the_prices_it_announces(price_list: str) -> None:
    assert counts(imported(price_list, "--publish")) == (1, 0, 0, 1, 2)
    assert input_prices() == 3_000_000
    assert input_prices(datetime(2999, 1, 1, tzinfo=UTC)) == 4_000_000
    assert counts(imported(price_list, "--publish")) == (0, 0, 1, 1, 0)
    assert {version.source for version in PriceVersion.objects.all()} == {"test 1 of 2026-11-01"}


def test_a_changed_price_is_shown_beside_the_one_it_replaces(price_list: str) -> None:
    typed = ("--provider", "up", "--model", "m-1", "--input", "2.5", "--output", "15")
    text("set_price", *typed, "--ahead")
    told = text("import_prices", "--file", price_list)
    assert "changed    up/m-1" in told
    assert "input_fresh $2.50 -> $3.00" in told
    assert "output_visible" not in told.split("2999")[0]
    imported(price_list, "--publish")
    assert input_prices() == 3_000_000


def test_a_list_of_tokens_leaves_prices_of_other_units_as_they_are(
    known: None, price_list: str
) -> None:
    typed = ("--input", "2.5", "--output", "15", "--unit", "pages=4")
    made = answer("set_price", "--provider", "up", "--model", "m-1", *typed, "--ahead")
    assert made["dollars_per_unit"] == {"pages": "4.00"}
    (step, announced) = imported(price_list, "--publish")["models"][0]["prices"]
    for lines in (step["lines"], announced["lines"]):
        assert lines[-1]["dollars_per_unit"] == "4.00"
    terms = book.cost("up", "m-1").at(clock.timestamp())
    assert terms is not None
    assert terms.step("default", 0).exact((("pages", 1_000),)) == 4 * 10**12
    assert counts(imported(price_list)) == (0, 0, 1, 1, 0)


def test_one_provider_may_be_asked_for(price_list: str) -> None:
    other = rows.provider("chat", "https://other.example/v1", name="other")
    rows.alias("others", (other, "m-1"))
    assert counts(imported(price_list, "--provider", "other")) == (0, 0, 0, 1, 0)
    assert "no provider 'gone'" in refusal("import_prices", "--provider", "gone")


def test_a_tenants_own_provider_is_left_out(price_list: str) -> None:
    tenant = rows.customer().tenant
    own = rows.provider("chat", "https://up.example/v1", name="own", tenant=tenant)
    rows.alias("own", (own, "m-1"), tenant=tenant)
    assert [m["provider"] for m in imported(price_list)["models"]] == ["up", "up"]


def test_a_file_that_is_no_list_is_named(tmp_path) -> None:
    path = tmp_path / "list.json"
    assert "is not a price list" in refusal("import_prices", "--file", str(path))
    path.write_text("[]")
    assert "is not a price list" in refusal("import_prices", "--file", str(path))


def test_the_packaged_list_prices_openai(price_list: str) -> None:
    openai = rows.provider("chat", "https://api.openai.com/v1", name="mine")
    rows.alias("gpt", (openai, "gpt-5-mini"))
    found = answer("import_prices", "--provider", "mine", "--publish")
    assert counts(found) == (1, 0, 0, 0, 1)


def test_a_charge_is_set_for_all_or_for_one_tenant() -> None:
    tenant = rows.customer("acme").tenant
    up = rows.provider("chat", "https://up.example/v1", name="up")
    rows.alias("mine", (up, "m-1"))
    everybodys = answer("set_price", "--alias", "mine", "--input", "3.00", "--output", "15")
    acmes = answer(
        "set_price", "--alias", "mine", "--tenant", "acme", "--input", "2", "--output", "0.1",
        "--cache-read", "0.0375",
    )  # fmt: skip
    assert everybodys["dollars_per_million"] == {"input_fresh": "3.00", "output_visible": "15.00"}
    assert (everybodys["tenant"], acmes["tenant"], acmes["known"]) == (None, "acme", True)
    terms = book.charge_book(tenant.pk, "mine").at(clock.timestamp())
    assert terms is not None
    assert terms.version == acmes["version"]
    assert terms.step("default", 0).picos[:3] == (2_000_000, 2_000_000, 37_500)


def test_a_price_of_nothing_is_refused_with_what_there_is_unless_it_is_set_ahead() -> None:
    up = rows.provider("chat", "https://up.example/v1", name="up")
    rows.alias("fast", (up, "m-1"))
    prices = ("--input", "1", "--output", "2")
    mistyped = ("--provider", "up", "--model", "m-2")
    for typed, told in (
        (("--alias", "fats"), "alias: There is no alias of the platform 'fats'. Known ones: fast."),
        (mistyped, "model: There is no model 'up/m-2'. Known ones: up/m-1."),
    ):
        assert refusal("set_price", *typed, *prices).startswith(told)
    assert not PriceVersion.objects.exists()
    assert "Nothing with that name exists yet." in text("set_price", *mistyped, *prices, "--ahead")


@cases(
    "options",
    [
        (),
        ("--provider", "up"),
        ("--alias", "a", "--provider", "up", "--model", "m"),
        ("--tenant", "acme", "--provider", "up", "--model", "m"),
    ],
)
def test_a_price_is_of_one_thing(options: tuple[str, ...]) -> None:
    refused = refusal("set_price", *options, "--input", "1", "--output", "1")
    assert refused.startswith("Give --alias")


def test_an_inexact_price_is_refused_by_the_name_of_its_option() -> None:
    refused = refusal("set_price", "--alias", "a", "--input", "0.1234567", "--output", "1")
    assert refused.startswith("input: 0.1234567 is finer")
    assert not PriceVersion.objects.exists()


def test_the_sandbox_has_pretended_prices_that_are_published_once() -> None:
    seed.seed_sandbox(8001)
    seed.seed_sandbox(8002)
    for protocol in PROTOCOLS:
        terms = book.cost(f"sandbox-{protocol}", "sandbox-1").at(clock.timestamp())
        assert terms is not None
        step = terms.step("default", 0)
        assert (step.picos[0], step.picos[5]) == (1_000_000, 4_000_000)
    assert PriceVersion.objects.count() == 3
