"""Reports of eight providers are priced by hand to the pico-dollar. Recorded reports are read in place."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from routing.protocols import PROTOCOLS
from tenants.prices.rating import Line, Terms, rate, terms
from tests.plugins.cases import cases
from tests.support.reference import json_of

Json = dict[str, Any]


def prices(**pico: int) -> Terms:
    return terms(1, 0.0, [Line(token_class, price) for token_class, price in pico.items()])


# Dollars per million tokens, times 10^6; list prices of the time of the recording.
GPT = prices(
    input_fresh=1_250_000,
    cache_read=125_000,
    output_visible=10_000_000,
    input_audio=40_000_000,
    output_audio=80_000_000,
)
CODEX = prices(input_fresh=1_750_000, cache_read=175_000, output_visible=14_000_000)
SONNET = prices(
    input_fresh=3_000_000,
    cache_read=300_000,
    cache_write=3_750_000,
    cache_write_long=6_000_000,
    output_visible=15_000_000,
)
FLASH = prices(
    input_fresh=300_000, cache_read=30_000, output_visible=2_500_000, input_audio=1_000_000
)
DEEPSEEK = prices(input_fresh=280_000, cache_read=28_000, output_visible=420_000)
KIMI = prices(input_fresh=950_000, cache_read=160_000, output_visible=4_000_000)
GROK = prices(input_fresh=300_000, cache_read=75_000, output_visible=500_000)
QWEN_ON_GROQ = prices(input_fresh=290_000, output_visible=590_000)
MISTRAL = prices(input_fresh=100_000, output_visible=300_000)


def chat(prompt: int, completion: int, total: int | None = None, **more: Any) -> Json:
    """A report of Chat Completions; `inside` and `outside` are the details of its two counts."""
    details = {
        "prompt_tokens_details": more.pop("inside", {}),
        "completion_tokens_details": more.pop("outside", {}),
    }
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion if total is None else total,
        **{name: value for name, value in details.items() if value},
        **more,
    }


def responses(inputs: int, outputs: int, inside: Json, outside: Json) -> Json:
    return {
        "input_tokens": inputs,
        "input_tokens_details": inside,
        "output_tokens": outputs,
        "output_tokens_details": outside,
        "total_tokens": inputs + outputs,
    }


def messages(inputs: int, outputs: int, **more: Any) -> Json:
    return {"input_tokens": inputs, "output_tokens": outputs, **more}


CASES = [
    # OpenAI, Chat Completions: cached and audio are part of the prompt, reasoning of the completion.
    ("openai plain", "chat", GPT, chat(14, 8), 14 * 1_250_000 + 8 * 10_000_000),
    (
        "openai cached",
        "chat",
        GPT,
        chat(2_006, 300, inside={"cached_tokens": 1_920}),
        86 * 1_250_000 + 1_920 * 125_000 + 300 * 10_000_000,
    ),
    (
        "openai reasoning",
        "chat",
        GPT,
        chat(75, 1_186, outside={"reasoning_tokens": 1_024}),
        75 * 1_250_000 + 1_186 * 10_000_000,
    ),
    (
        "openai cached and reasoning",
        "chat",
        GPT,
        chat(3_000, 900, inside={"cached_tokens": 2_816}, outside={"reasoning_tokens": 640}),
        184 * 1_250_000 + 2_816 * 125_000 + 900 * 10_000_000,
    ),
    (
        "openai audio",
        "chat",
        GPT,
        chat(
            120,
            80,
            inside={"audio_tokens": 100, "text_tokens": 20},
            outside={"audio_tokens": 60, "text_tokens": 20},
        ),
        20 * 1_250_000 + 100 * 40_000_000 + 20 * 10_000_000 + 60 * 80_000_000,
    ),
    (
        "openai cached audio",
        "chat",
        GPT,
        chat(
            120,
            80,
            inside={
                "audio_tokens": 100,
                "cached_tokens": 64,
                "cached_tokens_details": {"audio_tokens": 64},
            },
        ),
        20 * 1_250_000 + 36 * 40_000_000 + 64 * 125_000 + 80 * 10_000_000,
    ),
    # OpenAI, Responses: the same under other names.
    (
        "responses plain",
        "responses",
        CODEX,
        responses(36, 87, {"cached_tokens": 0}, {"reasoning_tokens": 0}),
        36 * 1_750_000 + 87 * 14_000_000,
    ),
    (
        "responses cached and reasoning",
        "responses",
        CODEX,
        responses(7_243, 423, {"cached_tokens": 3_072}, {"reasoning_tokens": 58}),
        4_171 * 1_750_000 + 3_072 * 175_000 + 423 * 14_000_000,
    ),
    (
        "responses all cached",
        "responses",
        CODEX,
        responses(1_024, 1, {"cached_tokens": 1_024}, {}),
        1_024 * 175_000 + 14_000_000,
    ),
    (
        "responses cache write",
        "responses",
        SONNET,
        responses(
            2_000,
            10,
            {
                "cached_tokens": 500,
                "cache_write_tokens": 1_000,
                "cache_write_tokens_details": {"ttl_12h_tokens": 400},
            },
            {},
        ),
        500 * 3_000_000 + 500 * 300_000 + 600 * 3_750_000 + 400 * 6_000_000 + 10 * 15_000_000,
    ),
    # Anthropic: the input leaves out what the cache read and wrote.
    ("anthropic plain", "anthropic", SONNET, messages(51, 17), 51 * 3_000_000 + 17 * 15_000_000),
    (
        "anthropic cache read",
        "anthropic",
        SONNET,
        messages(6, 110, cache_read_input_tokens=1_069, cache_creation_input_tokens=85),
        6 * 3_000_000 + 1_069 * 300_000 + 85 * 3_750_000 + 110 * 15_000_000,
    ),
    (
        "anthropic both lifetimes",
        "anthropic",
        SONNET,
        messages(
            7,
            9,
            cache_creation_input_tokens=1_000,
            cache_creation={"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600},
        ),
        7 * 3_000_000 + 400 * 3_750_000 + 600 * 6_000_000 + 9 * 15_000_000,
    ),
    (
        "anthropic thinking",
        "anthropic",
        SONNET,
        messages(51, 1_699, output_tokens_details={"thinking_tokens": 139}),
        51 * 3_000_000 + 1_699 * 15_000_000,
    ),
    # Gemini, by way of its OpenAI-compatible door.
    ("gemini plain", "chat", FLASH, chat(10, 5), 10 * 300_000 + 5 * 2_500_000),
    (
        "gemini cached",
        "chat",
        FLASH,
        chat(2_167, 99, inside={"cached_tokens": 2_161, "audio_tokens": 0}),
        6 * 300_000 + 2_161 * 30_000 + 99 * 2_500_000,
    ),
    (
        "gemini audio",
        "chat",
        FLASH,
        chat(300, 20, inside={"audio_tokens": 256}),
        44 * 300_000 + 256 * 1_000_000 + 20 * 2_500_000,
    ),
    (
        "gemini thoughts beside the completion",
        "chat",
        FLASH,
        chat(9, 12, total=121, outside={"reasoning_tokens": 100}),
        9 * 300_000 + 112 * 2_500_000,
    ),
    # DeepSeek names what its cache hit and missed.
    ("deepseek plain", "chat", DEEPSEEK, chat(18, 345), 18 * 280_000 + 345 * 420_000),
    (
        "deepseek cached and reasoning",
        "chat",
        DEEPSEEK,
        chat(
            495,
            144,
            prompt_cache_hit_tokens=320,
            prompt_cache_miss_tokens=175,
            outside={"reasoning_tokens": 118},
        ),
        175 * 280_000 + 320 * 28_000 + 144 * 420_000,
    ),
    (
        "deepseek cached, told twice",
        "chat",
        DEEPSEEK,
        chat(495, 144, prompt_cache_hit_tokens=320, inside={"cached_tokens": 320}),
        175 * 280_000 + 320 * 28_000 + 144 * 420_000,
    ),
    # Moonshot tells cached tokens at the top.
    ("moonshot plain", "chat", KIMI, chat(20, 30), 20 * 950_000 + 30 * 4_000_000),
    (
        "moonshot cached and reasoning",
        "chat",
        KIMI,
        chat(20, 30, cached_tokens=10, outside={"reasoning_tokens": 22}),
        10 * 950_000 + 10 * 160_000 + 30 * 4_000_000,
    ),
    # xAI counts reasoning beside the completion; its own bill of this call said 1,641,500 ticks of 10^-10 $.
    ("xai plain", "chat", GROK, chat(12, 2), 12 * 300_000 + 2 * 500_000),
    (
        "xai reasoning beside the completion",
        "chat",
        GROK,
        chat(
            12,
            2,
            total=334,
            inside={"text_tokens": 12, "cached_tokens": 2},
            outside={"reasoning_tokens": 320},
        ),
        164_150_000,
    ),
    (
        "xai reasoning within the completion",
        "chat",
        GROK,
        chat(12, 322, outside={"reasoning_tokens": 320}),
        12 * 300_000 + 322 * 500_000,
    ),
    # Groq and Mistral: no cache.
    (
        "groq reasoning",
        "chat",
        QWEN_ON_GROQ,
        chat(17, 649, queue_time=0.3, outside={"reasoning_tokens": 570}),
        17 * 290_000 + 649 * 590_000,
    ),
    ("groq plain", "chat", QWEN_ON_GROQ, chat(1, 1), 290_000 + 590_000),
    ("mistral plain", "chat", MISTRAL, chat(13, 434), 13 * 100_000 + 434 * 300_000),
    (
        "mistral without details",
        "chat",
        MISTRAL,
        chat(13, 434, prompt_tokens_details=None, completion_tokens_details=None),
        13 * 100_000 + 434 * 300_000,
    ),
]


@cases(
    ("protocol", "by", "report", "pico"),
    [pytest.param(*case[1:], id=case[0]) for case in CASES],
)
def test_a_report_costs_what_its_provider_asks_for_it(
    protocol: str, by: Terms, report: Json, pico: int
) -> None:
    usage = PROTOCOLS[protocol].read_usage(report)
    picos = by.step("default", usage.input_total).picos
    assert sum(count * price for count, price in zip(usage.counts, picos, strict=True)) == pico
    assert not usage.anomaly
    assert rate(usage, "default", by).total == round(Fraction(pico, 1000))


@cases(
    ("protocol", "report"),
    [
        ("chat", chat(10, 5, inside={"cached_tokens": 11})),
        ("chat", chat(10, 5, inside={"audio_tokens": 11})),
        ("chat", chat(10, 5, outside={"audio_tokens": 3, "reasoning_tokens": 3})),
        ("chat", chat(10, 5, total=16)),
        ("chat", chat(10, -5)),
        ("responses", responses(10, 5, {"cached_tokens": 6, "cache_write_tokens": 6}, {})),
        ("responses", responses(10, 5, {}, {"reasoning_tokens": 6})),
        ("anthropic", messages(10, 5, output_tokens_details={"thinking_tokens": 6})),
    ],
)
def test_parts_that_exceed_their_whole_are_an_anomaly(protocol: str, report: Json) -> None:
    assert PROTOCOLS[protocol].read_usage(report).anomaly


HANDED_OVER = (
    "cassettes-test-tool-search-test-anthropic-to-google-deferred-capability-history-replay-2"
)
RECORDED = [
    (
        "chat/deepseek-src-chat-deepseek-json.json",
        DEEPSEEK,
        175 * 280_000 + 320 * 28_000 + 144 * 420_000,
    ),
    (
        "chat/moonshotai-src-moonshotai-reasoning.json",
        KIMI,
        10 * 950_000 + 10 * 160_000 + 30 * 4_000_000,
    ),
    ("chat/openai-compatible-src-chat-xai-text.json", GROK, 164_150_000),
    ("chat/groq-src-groq-reasoning.json", QWEN_ON_GROQ, 17 * 290_000 + 649 * 590_000),
    ("chat/mistral-src-mistral-text.json", MISTRAL, 13 * 100_000 + 434 * 300_000),
    # OpenRouter says itself that this call cost $0.00031413.
    (
        "chat/models-openrouter-test-cache-test-openrouter-cache-instructions-gemini-real-api-1.json",
        FLASH,
        314_130_000,
    ),
    (
        "responses/openai-src-responses-openai-phase-1.json",
        CODEX,
        4_171 * 1_750_000 + 3_072 * 175_000 + 423 * 14_000_000,
    ),
    (
        f"anthropic/{HANDED_OVER}.json",
        SONNET,
        6 * 3_000_000 + 1_069 * 300_000 + 85 * 3_750_000 + 110 * 15_000_000,
    ),
]


@cases(("name", "by", "pico"), RECORDED, ids=[name for name, *_ in RECORDED])
def test_a_recorded_report_costs_what_its_provider_asks_for_it(
    name: str, by: Terms, pico: int
) -> None:
    usage = PROTOCOLS[name.split("/", maxsplit=1)[0]].read_usage(
        json_of(f"recordings/{name}")["usage"]
    )
    assert not usage.anomaly
    assert rate(usage, "default", by).total * 1000 == pico
