"""No free tokens: what a provider reports badly or not at all is counted by us, and flagged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest

from gateway_project.lib import clock
from gateway_project.sandbox.reply import Scripted
from routing.models import Provider
from tenants.ledger.open_calls import OpenCall, abandoned
from tenants.ledger.records import Opened
from tenants.models import PriceLine, PriceVersion
from tenants.prices.rating import Line, terms
from tests.responses_api.accounting.conftest import INPUT_PICO, OUTPUT_PICO, Rows, price
from tests.support import answers, rows
from tests.support.answers import ABSENT, PROTOCOLS, report
from tests.support.live import LiveGateway
from tests.support.rows import Customer

Post = Callable[..., httpx.Response]
DOORS = ("chat", "responses")
each_cell = pytest.mark.parametrize(
    ("door", "protocol"), [(door, protocol) for door in DOORS for protocol in PROTOCOLS]
)
TEXT = "These are about as many words as forty bytes hold." * 4
SEEN = len(TEXT) // 4


def unusable(protocol: str) -> dict[str, Any]:
    return {
        "absent": ABSENT,
        "null": None,
        "a list": [1, 2],
        "empty": {},
        "zero": report(protocol, 0, 0),
        "lists": report(protocol, [9], [4]),
        "huge": report(protocol, 1e300, 1e300),
        "negative": report(protocol, -9, -4),
        "words": report(protocol, "many", "few"),
        "booleans": report(protocol, True, True),
    }


def scripted(gateway: LiveGateway, protocol: str, *scripts: Scripted) -> str:
    """A priced alias whose provider gives these answers in turn."""
    gateway.call(lambda: gateway.sandbox.script("scripted", *scripts))
    if not PriceVersion.objects.filter(model="scripted").exists():
        provider = Provider.objects.get(name=f"sandbox-{protocol}")
        rows.alias("scripted", (provider, "scripted"))
        price(provider.name, "scripted")
    return "scripted"


def json_answer(protocol: str, usage: Any, text: str = TEXT) -> Scripted:
    raw = answers.whole(protocol, text, usage)
    return Scripted(chunks=[raw], content_type="application/json")


def stream(protocol: str, usage: Any, text: str = TEXT) -> Scripted:
    raw = answers.beginning(protocol, text) + answers.ending(protocol, text, usage)
    return Scripted(chunks=[raw])


@each_cell
def test_an_answer_without_a_usable_report_is_counted_and_flagged(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer, door: str, protocol: str
) -> None:
    reports = unusable(protocol)
    for streamed, made in ((False, json_answer), (True, stream)):
        model = scripted(gateway, protocol, *(made(protocol, each) for each in reports.values()))
        for name in reports:
            assert post(door, model, stream=streamed).status_code == 200, name
    for number, row in enumerate(booked()):
        case = (list(reports)[number % len(reports)], number)
        assert (row.status, row.usage_source) == ("completed", "counted"), case
        assert row.usage_anomaly, case
        assert row.output_visible >= SEEN, case
        assert row.input_fresh > 0, case
        pico = row.input_fresh * INPUT_PICO + row.output_visible * OUTPUT_PICO
        assert row.charge_nano == pico // 1000, case
    assert number + 1 == 2 * len(reports)


@each_cell
def test_counts_written_as_digits_or_as_integral_floats_are_read(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer, door: str, protocol: str
) -> None:
    reports = [report(protocol, "70", 9.0), report(protocol, 70.0, "9")]
    for streamed, made in ((False, json_answer), (True, stream)):
        model = scripted(gateway, protocol, *(made(protocol, each) for each in reports))
        for _ in reports:
            assert post(door, model, stream=streamed).status_code == 200
    for row in booked():
        assert (row.usage_source, row.usage_anomaly) == ("provider", False)
        assert (row.input_fresh, row.output_visible) == (70, 9)


def test_a_report_of_one_half_keeps_that_half(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer
) -> None:
    halves = [report("chat", 70, None), report("chat", None, 900), report("chat", 70, 0)]
    model = scripted(gateway, "chat", *(json_answer("chat", half) for half in halves))
    for _ in halves:
        post("chat", model)
    first, second, third = booked()
    assert (first.input_fresh, first.output_visible) == (70, SEEN)
    assert second.input_fresh > 0
    assert second.output_visible == 900
    assert (third.input_fresh, third.output_visible) == (70, SEEN)
    assert {(row.usage_source, row.usage_anomaly) for row in (first, second, third)} == {
        ("counted", True)
    }


@pytest.mark.parametrize("door", DOORS)
def test_an_anthropic_stream_without_its_final_usage_is_not_one_token_of_output(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer, door: str
) -> None:
    post(door, scripted(gateway, "anthropic", stream("anthropic", ABSENT)), stream=True)
    (row,) = booked()
    assert (row.usage_source, row.usage_anomaly) == ("counted", True)
    assert row.input_fresh == 7  # told when it began
    assert row.output_visible >= SEEN


def test_what_chat_completions_report_in_other_places_is_read_by_relay_and_translation(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer
) -> None:
    usage = report("chat", 70, 900)
    plain = answers.whole("chat", TEXT)
    groq = plain[:-1] + b',"x_groq":{"usage":{"prompt_tokens":70,"completion_tokens":900}}}'
    moonshot = plain.replace(
        b'"finish_reason":"stop"',
        b'"finish_reason":"stop","usage":{"prompt_tokens":70,"completion_tokens":900}',
    )
    begun, ended = answers.beginning("chat", TEXT), answers.ending("chat", TEXT)
    # Groq's last chunk with a choice has it, beside the choices; Moonshot's has it in the choice.
    last, done = ended.split(b"\n\n", 1)
    streamed = [
        begun + last[:-1] + b',"x_groq":{"usage":' + orjson.dumps(usage) + b"}}\n\n" + done,
        begun
        + last.replace(b'"finish_reason":"stop"', b'"finish_reason":"stop","usage":@')
        .replace(b"@", orjson.dumps(usage))
        + b"\n\n"
        + done,
    ]  # fmt: skip
    scripts = [Scripted(chunks=[raw], content_type="application/json") for raw in (groq, moonshot)]
    scripts += [Scripted(chunks=[raw]) for raw in streamed]
    for door in DOORS:
        model = scripted(gateway, "chat", *scripts)
        for is_stream in (False, False, True, True):
            assert post(door, model, stream=is_stream).status_code == 200
    found = booked()
    assert len(found) == 8
    assert {
        (row.usage_source, row.usage_anomaly, row.input_fresh, row.output_visible) for row in found
    } == {("provider", False, 70, 900)}


def test_a_response_of_items_without_deltas_is_counted_by_its_items(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer
) -> None:
    begun = answers.beginning("responses", TEXT).partition(b"event: response.output_text.delta")[0]
    item = orjson.dumps(answers.response(TEXT)["output"][0])
    done = b'event: response.output_item.done\ndata: {"type":"response.output_item.done","item":'
    script = Scripted(chunks=[begun + done + item + b"}\n\n"], end="cut")
    post("responses", scripted(gateway, "responses", script), stream=True)
    (row,) = booked()
    assert (row.status, row.usage_source) == ("failed", "counted")
    assert row.output_visible >= SEEN


def test_the_tier_that_prices_was_served_or_is_the_dearer_of_default_and_sent(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer
) -> None:
    tiers = {"default": 10_000_000, "flex": 5_000_000, "priority": 20_000_000}
    asked: list[tuple[str, str | None, str | None, str]] = [
        # protocol, asked for, said to have been served, priced
        ("chat", None, None, "default"),
        ("chat", "flex", None, "default"),
        ("chat", "flex", "auto", "default"),
        ("chat", "flex", "flex", "flex"),
        ("chat", "flex", "priority", "priority"),
        ("chat", "priority", None, "priority"),
        ("chat", "priority", "default", "default"),
        ("responses", "flex", None, "default"),
        ("anthropic", "priority", None, "default"),  # which is never told of it
    ]
    for protocol in PROTOCOLS:
        provider = Provider.objects.get(name=f"sandbox-{protocol}")
        rows.alias(f"tiered-{protocol}", (provider, "tiered"))
        version = PriceVersion.objects.create(
            book=PriceVersion.Book.COST,
            provider=provider.name,
            model="tiered",
            effective_from=clock.now(),
        )
        for tier, pico in tiers.items():
            for name in ("input_fresh", "output_visible"):
                PriceLine.objects.create(
                    version=version, token_class=name, pico_per_token=pico, service_tier=tier
                )
        PriceVersion.objects.filter(pk=version.pk).update(published_at=clock.now())
    for protocol, wanted, served, _ in asked:
        raw = answers.whole(protocol, TEXT, report(protocol, 70, 30), served)
        script = Scripted(chunks=[raw], content_type="application/json")
        gateway.call(lambda script=script: gateway.sandbox.script("tiered", script))  # type: ignore[misc]
        more = {"service_tier": wanted} if wanted else {}
        door = "chat" if protocol == "chat" else "responses"
        assert post(door, f"tiered-{protocol}", **more).status_code == 200
    for case, row in zip(asked, booked(), strict=True):
        assert (row.service_tier, row.charge_nano) == (case[-1], 100 * tiers[case[-1]] // 1000), (
            case
        )


def test_a_call_whose_worker_died_is_priced_in_the_dearer_tier() -> None:
    by = terms(
        1,
        0.0,
        [
            Line(name, pico, tier)
            for tier, pico in (("default", 10_000_000), ("flex", 5_000_000))
            for name in ("input_fresh", "output_visible")
        ],
    )
    opened = Opened(
        id="0" * 32, leg=0, at_ms=0, tenant_id=1, tenant="buyer", key_id=1, key="k", route="chat", alias="a",
        provider="p", upstream_model="m", input_estimate=70, service_tier="flex", cost_version=1,
        charge_version=1, is_own=False, held_nano=None, budgets=(),
    )  # fmt: skip
    row = abandoned(OpenCall(opened, 1, 0), lambda version: by)
    assert (row.values["service_tier"], row.values["charge_nano"]) == ("default", 700_000)


FILTERED = {
    "chat": [(b'"finish_reason":"stop"', b'"finish_reason":"content_filter"')],
    "anthropic": [(b'"stop_reason":"end_turn"', b'"stop_reason":"refusal"')],
    "responses": [
        (
            b'"status":"completed"',
            b'"status":"incomplete","incomplete_details":{"reason":"content_filter"}',
        ),
        (b"response.completed", b"response.incomplete"),
    ],
}


@each_cell
@pytest.mark.parametrize("streamed", [False, True], ids=["json", "stream"])
def test_an_answer_that_its_providers_own_filter_ended_is_booked_as_such_and_charged(
    gateway: LiveGateway, post: Post, booked: Rows, door: str, protocol: str, streamed: bool
) -> None:
    script = (stream if streamed else json_answer)(protocol, report(protocol, 9, 4))
    (raw,) = script.chunks
    for old, new in FILTERED[protocol]:
        raw = raw.replace(old, new)
    model = scripted(gateway, protocol, replace(script, chunks=[raw]))
    assert post(door, model, "Hi", stream=streamed).status_code == 200
    (row,) = booked()
    assert (row.status, row.error_code) == ("incomplete", "content_filter")
    assert (row.usage_source, row.input_fresh, row.output_visible) == ("provider", 9, 4)
    assert row.charge_nano > 0
