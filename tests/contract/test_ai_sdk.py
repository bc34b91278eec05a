"""The Vercel AI SDK, over both routes: the same answers, whatever the upstream speaks."""

from __future__ import annotations

import pytest

pytestmark = [
    pytest.mark.clients,
    pytest.mark.client_programs,
    pytest.mark.django_db(transaction=True),
]

ANSWER = "You said: How are you?"
RESULT = "The tool answered: sunny in sandbox"
WELL = {"errors": [], "broke": "no error"}
MODEL_STEPS = 12 + 12 + 12 + 4

ON_BOTH_ROUTES = {
    "generate": {"text": ANSWER, "finish": "stop", "hasUsage": True, "warnings": []},
    "stream": {"text": ANSWER, "finish": "stop", "hasUsage": True, **WELL},
    "tools": {"text": RESULT, "steps": ["tool-calls", "stop"]},
    "streamedTools": {
        "text": RESULT,
        "steps": ["tool-calls", "stop"],
        "sawResult": True,
        "errors": [],
    },
    "reasoning": {"text": "You said: Hi", "finish": "stop", "errors": []},
    "severalTurns": {"texts": ["You said: First", "You said: Second"]},
    "structured": {"city": "sandbox"},
    "cutAtTheLimit": {"finish": "length"},
    "unknownModel": {"name": "APICallError", "statusCode": 404, "isRetryable": False},
}
BROKEN_OFF = {"afterOutput": True, "told": True, "errors": ["StreamProviderError"]}
EXPECTED = {
    **{f"responses.{name}": told for name, told in ON_BOTH_ROUTES.items()},
    "responses.failingStream": {**BROKEN_OFF, "broke": "no error"},
    **{f"stored.{name}": told for name, told in ON_BOTH_ROUTES.items()},
    "stored.failingStream": {**BROKEN_OFF, "broke": "no error"},
    **{f"chat.{name}": told for name, told in ON_BOTH_ROUTES.items()},
    # A failed chat stream is cut after its error, so that nobody takes it for complete.
    "chat.failingStream": {**BROKEN_OFF, "broke": "APICallError"},
    "turnsByReference": {
        "texts": [RESULT, "You said: Second", "You said: Third"],
        "finish": "stop",
        "errors": [],
    },
}


def test_every_scenario_ends_as_with_openai_and_nothing_is_sent_twice(node_script, gateway):
    assert node_script("ai_sdk.mjs") == EXPECTED
    assert len(gateway.sandbox.calls) == MODEL_STEPS
