"""Failures of upstreams are understood, as each vendor tells them."""

from __future__ import annotations

from typing import Any

import orjson

from gateway_project.lib.errors import (
    UpstreamAuthFailed,
    UpstreamError,
    UpstreamMalformed,
    UpstreamModelMissing,
    UpstreamOverloaded,
    UpstreamQuotaExhausted,
    UpstreamRateLimited,
    UpstreamRejected,
)
from routing.protocols.shared import failures
from tests.plugins.cases import cases
from tests.support.targets import target


def response(status: int, body: Any) -> UpstreamError:
    return failures.of_response(target("anthropic"), status, orjson.dumps(body), "")


def of_anthropic(status: int, kind: str, message: str = "m") -> UpstreamError:
    error = {"type": kind, "message": message}
    return response(status, {"type": "error", "error": error, "request_id": "req_1"})


# https://platform.claude.com/docs/en/api/errors
ANTHROPIC = [
    (400, "invalid_request_error", UpstreamRejected),
    (401, "authentication_error", UpstreamAuthFailed),
    (402, "billing_error", UpstreamQuotaExhausted),
    (403, "permission_error", UpstreamAuthFailed),
    (404, "not_found_error", UpstreamModelMissing),
    (413, "request_too_large", UpstreamRejected),
    (429, "rate_limit_error", UpstreamRateLimited),
    (500, "api_error", UpstreamError),
    (504, "timeout_error", UpstreamError),
    (529, "overloaded_error", UpstreamOverloaded),
]


@cases(("status", "kind", "expected"), ANTHROPIC)
def test_anthropics_errors(status, kind, expected):
    assert type(of_anthropic(status, kind)) is expected
    event = failures.of_event(target("anthropic"), {"type": kind, "message": "m"})
    assert type(event) is expected


@cases(
    "message",
    [
        "Your credit balance is too low to access the Anthropic API.",
        "You have reached your specified API usage limits. You will regain access on 2026-12-01.",
    ],
)
def test_an_empty_account_is_not_told_to_the_client_as_its_own_mistake(message):
    error = of_anthropic(400, "invalid_request_error", message)
    assert type(error) is UpstreamQuotaExhausted
    assert message not in error.message


def test_a_prompt_that_is_too_long_has_the_code_that_clients_know():
    words = "prompt is too long: 210000 tokens > 200000 maximum"
    error = of_anthropic(400, "invalid_request_error", words).body()["error"]
    assert (error["code"], error["message"]) == ("context_length_exceeded", words)


# https://openrouter.ai/docs/api/reference/errors-and-debugging
@cases(
    ("code", "expected"),
    [
        (400, UpstreamRejected),
        (401, UpstreamAuthFailed),
        (402, UpstreamQuotaExhausted),
        (403, UpstreamAuthFailed),
        (408, UpstreamError),
        (429, UpstreamRateLimited),
        ("429", UpstreamRateLimited),
        (502, UpstreamError),
        (503, UpstreamOverloaded),
        ("server_error", UpstreamError),
        (1302, UpstreamError),
        (0, UpstreamError),
        ("9999999999", UpstreamError),
        (None, UpstreamError),
        ([], UpstreamError),
    ],
)
def test_an_error_chunk_means_what_its_code_says(code, expected):
    error = failures.of_event(target("chat"), {"code": code, "message": "m"})
    assert type(error) is expected


def test_moderation_is_about_the_input_and_not_about_the_key():
    metadata = {"reasons": ["violence"], "flagged_input": "x", "provider_name": "OpenAI"}
    error = response(403, {"error": {"code": 403, "message": "flagged", "metadata": metadata}})
    assert type(error) is UpstreamRejected
    assert (error.http_status, error.message) == (400, "flagged")


def test_the_words_of_the_models_provider_are_passed_on():
    raw = '{"error": {"message": "max_tokens is too large"}}'
    metadata = {"raw": raw, "provider_name": "Anthropic"}
    wrapped = {"code": 400, "message": "Provider returned error", "metadata": metadata}
    assert response(400, {"error": wrapped}).message == "max_tokens is too large"


def test_words_of_the_models_provider_that_are_no_json_are_left_out():
    wrapped = {"code": 400, "message": "Provider returned error", "metadata": {"raw": "<html>"}}
    assert response(400, {"error": wrapped}).message == "Provider returned error"


def test_an_image_that_cannot_be_used_is_the_requests_fault():
    error = failures.of_event(target("responses"), {"code": "image_too_large", "message": "m"})
    assert type(error) is UpstreamRejected


def test_a_redirect_is_no_answer():
    assert type(response(302, {})) is UpstreamMalformed
