"""Background responses and kept streams with an Idempotency-Key: one of them, whatever the retries."""

from __future__ import annotations

import pytest

from responses_api.models import Run
from routing.models import Alias
from tests.responses_api.background.conftest import PACED, ended
from tests.support import grammar

pytestmark = pytest.mark.persistence

KEY = {"idempotency-key": "once"}


def test_a_queued_response_is_made_once(http, gateway):
    body = {"model": "sandbox-chat", "input": "Hi", "background": True}
    first, again = (http.post("/responses", json=body, headers=KEY) for _ in range(2))
    assert again.json() == first.json()
    assert ended(first.json()["id"]).status == "completed"
    later = http.post("/responses", json=body, headers=KEY)
    assert later.json() == first.json()
    assert Run.objects.count() == len(gateway.sandbox.calls) == 1


@pytest.mark.parametrize("background", [True, False], ids=["background", "foreground"])
def test_a_stream_that_is_asked_for_again_is_the_same_stream(http, gateway, background):
    Alias.objects.update(resumable_streams=True)
    body = {"model": "sandbox-chat", "input": PACED, "background": background, "stream": True}
    with http.stream("POST", "/responses", json=body, headers=KEY) as first:
        seen = next(first.iter_raw())
    again = http.post("/responses", json=body, headers=KEY)
    events = grammar.read(again.content)
    assert grammar.check(events)["status"] == "completed"
    assert again.content.startswith(seen)
    assert http.events(events[0]["response"]["id"]) == events
    assert Run.objects.count() == len(gateway.sandbox.calls) == 1
