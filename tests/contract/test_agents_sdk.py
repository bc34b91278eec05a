"""The OpenAI Agents SDK, over both routes and a WebSocket: the same answers over every upstream."""

from __future__ import annotations

import pytest

pytestmark = [
    pytest.mark.clients,
    pytest.mark.client_programs,
    pytest.mark.django_db(transaction=True),
]

ANSWER = "You said: How are you?"
RESULT = "The tool answered: sunny in sandbox"
ONE_REQUEST = {"requests": 1, "has_usage": True}
TWO_REQUESTS = {"requests": 2, "has_usage": True}
MODEL_STEPS_PER_ROUTE = 13
CONTINUED_STEPS = 3 + 4

ON_BOTH_ROUTES = {
    "run": {"text": ANSWER, **ONE_REQUEST},
    "run_streamed": {"text": ANSWER, "deltas": ANSWER, **ONE_REQUEST},
    "tool": {"text": RESULT, **TWO_REQUESTS},
    "tool_streamed": {
        "text": f"{RESULT} / sunny in sandbox",
        "items": [
            "tool_call_item",
            "tool_call_item",
            "tool_call_output_item",
            "tool_call_output_item",
            "message_output_item",
        ],
        **TWO_REQUESTS,
    },
    "several_turns": {"text": "You said: And now?", **ONE_REQUEST},
    "structured": {"city": "sandbox"},
    "handoff": {
        "text": 'The tool answered: {"assistant": "Tester"}',
        "calls": ["HandoffCallItem", "HandoffOutputItem", "MessageOutputItem"],
        **TWO_REQUESTS,
    },
    "unknown_model": {"name": "NotFoundError", "status_code": 404, "code": "model_not_found"},
}
EXPECTED = {
    **{f"responses.{name}": told for name, told in ON_BOTH_ROUTES.items()},
    "responses.failing_stream": {"name": "ModelBehaviorError"},
    **{f"websocket.{name}": told for name, told in ON_BOTH_ROUTES.items()},
    "websocket.unknown_model": {"name": "ResponsesWebSocketError", "code": "model_not_found"},
    "websocket.failing_stream": {"name": "ModelBehaviorError"},
    **{f"chat.{name}": told for name, told in ON_BOTH_ROUTES.items()},
    "chat.failing_stream": {"name": "APIError"},
    "continued": [
        {"text": RESULT, **TWO_REQUESTS},
        {"text": "You said: And now?", **ONE_REQUEST},
    ],
    "continued_streamed": [
        f"{RESULT} / sunny in sandbox",
        "You said: And now?",
        "You said: And then?",
    ],
}


def test_every_scenario_ends_as_with_openai_and_nothing_is_sent_twice(python_script, gateway):
    assert python_script("agents_sdk.py") == EXPECTED
    assert len(gateway.sandbox.calls) == 3 * MODEL_STEPS_PER_ROUTE + CONTINUED_STEPS
