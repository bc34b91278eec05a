"""LangChain's ChatOpenAI, over both routes: the same answers, whatever the upstream speaks."""

from __future__ import annotations

import pytest

pytestmark = [
    pytest.mark.clients,
    pytest.mark.client_programs,
    pytest.mark.django_db(transaction=True),
]

ANSWER = {"text": "You said: How are you?", "has_usage": True}
ROUND_TRIP = {
    "text": "The tool answered: sunny in sandbox / sunny in sandbox",
    "has_usage": True,
    "calls": [["get_weather", {"city": "sandbox"}]] * 2,
}
MODEL_STEPS_PER_ROUTE = 12
CONTINUED_STEPS = 2


def expected(model: str) -> dict[str, object]:
    on_both_routes = {
        "invoke": {**ANSWER, "model": model},
        "ainvoke": ANSWER,
        "stream": ANSWER,
        "tools": ROUND_TRIP,
        "streamed_tools": ROUND_TRIP,
        "several_turns": {"text": "You said: Second", "has_usage": True},
        "structured": {"city": "sandbox"},
        "structured_by_a_tool": {"city": "sandbox"},
        "unknown_model": {
            "name": "OpenAIModelNotFoundError",
            "status_code": 404,
            "code": "model_not_found",
        },
    }
    return {
        **{f"responses.{name}": told for name, told in on_both_routes.items()},
        "responses.failing_stream": {"name": "ValueError"},
        **{f"chat.{name}": told for name, told in on_both_routes.items()},
        "chat.failing_stream": {"name": "APIError"},
        "continued": {"text": "You said: Second", "has_usage": True},
    }


def test_every_scenario_ends_as_with_openai_and_nothing_is_sent_twice(
    python_script, gateway, protocol
):
    assert python_script("langchain_chat.py") == expected(f"sandbox-{protocol}")
    assert len(gateway.sandbox.calls) == 2 * MODEL_STEPS_PER_ROUTE + CONTINUED_STEPS
