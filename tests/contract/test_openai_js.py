"""The OpenAI JavaScript SDK: the same answers, whatever the upstream speaks."""

from __future__ import annotations

import pytest

pytestmark = [
    pytest.mark.clients,
    pytest.mark.client_programs,
    pytest.mark.django_db(transaction=True),
]

ANSWER = "You said: How are you?"
TWO_CALLS = [["get_weather", ["city"]], ["get_weather", ["city"]]]
TWO_RESULTS = "The tool answered: sunny 0 / sunny 1"
MODEL_STEPS = 21
BEFORE_BIRCH = "amber "


def expected(model: str) -> dict[str, object]:
    response = {"text": ANSWER, "status": "completed", "model": model, "hasUsage": True}
    completion = {"text": ANSWER, "finish": "stop", "model": model, "hasUsage": True}
    failed = {"status": "failed", "code": "server_error"}
    return {
        "response": response,
        "createdStream": {
            "text": ANSWER,
            "ordered": True,
            "last": "response.completed",
            "sameText": True,
        },
        "strictStream": {
            **response,
            "first": "response.created",
            "last": "response.completed",
        },
        "toolRoundTrip": {"calls": TWO_CALLS, "text": TWO_RESULTS},
        "streamedToolRoundTrip": {"calls": TWO_CALLS, "text": TWO_RESULTS},
        "reasoning": {"items": ["reasoning", "message"], "text": "You said: Hi"},
        "structured": {"city": "sandbox"},
        "incomplete": {"status": "incomplete", "reason": "max_output_tokens"},
        "chat": completion,
        "chatStream": completion,
        "chatTools": {"asked": [["city"], ["city"]], "text": TWO_RESULTS},
        "streamedChatTools": {"finish": "tool_calls", "calls": TWO_CALLS},
        "structuredChat": {"city": "sandbox"},
        "models": True,
        "wrongKey": {"name": "AuthenticationError", "status": 401, "code": "invalid_api_key"},
        "unknownModel": {
            "name": "NotFoundError",
            "status": 404,
            "code": "model_not_found",
            "param": "model",
            "requestID": True,
        },
        "wrongParameter": {
            "name": "BadRequestError",
            "status": 400,
            "code": "previous_response_not_found",
            "param": "previous_response_id",
        },
        "failingStream": {"last": "response.failed", **failed},
        "failingStrictStream": failed,
        "failingChatStream": {"name": "APIError", "afterOutput": True},
        "blockedStream": {"status": "incomplete", "reason": "content_filter", "text": BEFORE_BIRCH},
        "blockedChatStream": {"finish": "content_filter", "text": BEFORE_BIRCH},
    }


def test_every_scenario_ends_as_with_openai_and_nothing_is_sent_twice(
    node_script, gateway, protocol
):
    assert node_script("openai_sdk.mjs") == expected(f"sandbox-{protocol}")
    assert len(gateway.sandbox.calls) == MODEL_STEPS
