"""The official OpenAI SDK, unmodified: background responses, and streams that are come back to."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from routing.models import Alias, Provider
from tests.plugins.tiers import sampled
from tests.support import rows
from tests.support.patience import GIVE_UP_SECONDS, until

pytestmark = [pytest.mark.clients, pytest.mark.django_db(transaction=True)]

PACED = "[chunks=10] [pace=20]"
FINAL = {"completed", "failed", "incomplete", "cancelled"}


@pytest.fixture(params=sampled(["/v1", "/openai/v1"], default=1, ci=1))
def client(request, gateway, acme):
    base_url = gateway.root_url + request.param
    with OpenAI(
        base_url=base_url, api_key=acme.secret, max_retries=0, timeout=GIVE_UP_SECONDS
    ) as client:
        yield client
    gateway.idle()


def polled(client: OpenAI, response_id: str) -> Any:
    """The response once it is final, as the documentation says one waits for it."""
    until(lambda: client.responses.retrieve(response_id).status in FINAL)
    return client.responses.retrieve(response_id)


def begun(client: OpenAI, model: str, text: str = PACED) -> tuple[str, list[Any]]:
    """A stream that was left after its first events: its id, and what was seen of it."""
    with client.responses.create(model=model, input=text, background=True, stream=True) as stream:
        seen: list[Any] = [event for _, event in zip(range(6), stream, strict=False)]
    return seen[0].response.id, seen


def test_a_background_response_is_polled_for(client, protocol):
    response = client.responses.create(
        model=f"sandbox-{protocol}", input="How are you?", background=True
    )
    assert (response.status, response.background, response.output) == ("queued", True, [])
    found = polled(client, response.id)
    assert (found.status, found.output_text) == ("completed", "You said: How are you?")
    assert (found.id, found.created_at) == (response.id, response.created_at)


def test_a_stream_is_taken_up_after_the_last_event_that_was_seen(client, protocol):
    response_id, seen = begun(client, f"sandbox-{protocol}")
    last = seen[-1].sequence_number
    rest: list[Any] = list(client.responses.retrieve(response_id, stream=True, starting_after=last))
    assert [event.sequence_number for event in [*seen, *rest]] == list(range(len(seen) + len(rest)))
    assert rest[-1].type == "response.completed"
    again = list(client.responses.retrieve(response_id, stream=True))
    assert again == [*seen, *rest]


def test_the_sdks_own_accumulator_takes_a_stream_up(client, protocol):
    response_id, seen = begun(client, f"sandbox-{protocol}")
    last = seen[-1].sequence_number
    with client.responses.stream(response_id=response_id, starting_after=last) as stream:
        numbers = [event.sequence_number for event in stream]
        final = stream.get_final_response()
    assert numbers[0] == last + 1
    assert (final.id, final.status) == (response_id, "completed")
    assert final.output_text == client.responses.retrieve(response_id).output_text


def test_a_stored_stream_of_the_foreground_is_taken_up_where_the_model_says_so(client, protocol):
    Alias.objects.update(resumable_streams=True)
    with client.responses.create(model=f"sandbox-{protocol}", input=PACED, stream=True) as stream:
        seen: list[Any] = [event for _, event in zip(range(5), stream, strict=False)]
    response_id = seen[0].response.id
    rest: list[Any] = list(
        client.responses.retrieve(response_id, stream=True, starting_after=seen[-1].sequence_number)
    )
    assert rest[-1].type == "response.completed"
    assert polled(client, response_id).output_text


def test_cancelling_is_final_and_can_be_repeated(client, gateway, protocol):
    provider = Provider.objects.get(name=f"sandbox-{protocol}")
    rows.alias("endless", (provider, "sandbox-fault-never-ending"))
    response_id, seen = begun(client, "endless", "[pace=20]")
    cancelled = client.responses.cancel(response_id)
    assert cancelled.status == "cancelled"
    assert client.responses.cancel(response_id) == cancelled
    assert client.responses.retrieve(response_id).status == "cancelled"
    rest: list[Any] = list(
        client.responses.retrieve(response_id, stream=True, starting_after=seen[-1].sequence_number)
    )
    assert (rest[-1].type, rest[-1].response.status) == ("response.incomplete", "cancelled")
    until(lambda: gateway.sandbox.calls[-1].ended == "client_closed")


def test_a_failure_is_part_of_the_response(client, protocol):
    provider = Provider.objects.get(name=f"sandbox-{protocol}")
    rows.alias("failing", (provider, "sandbox-fault-503"))
    response = client.responses.create(model="failing", input="Hi", background=True)
    found = polled(client, response.id)
    assert found.status == "failed"
    assert found.error is not None
    assert found.error.code == "server_error"


def test_what_cannot_be_taken_up_is_refused(client):
    response = client.responses.create(model="sandbox-chat", input="Hi")
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.retrieve(response.id, stream=True)
    assert refused.value.param == "stream"
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_unknown", stream=True)
    with pytest.raises(openai.BadRequestError) as unstored:
        client.responses.create(model="sandbox-chat", input="Hi", background=True, store=False)
    assert unstored.value.param == "background"


async def test_the_asynchronous_client(gateway, acme):
    async with AsyncOpenAI(
        base_url=gateway.base_url, api_key=acme.secret, max_retries=0, timeout=GIVE_UP_SECONDS
    ) as client:
        stream = await client.responses.create(
            model="sandbox-chat", input="Hi", background=True, stream=True
        )
        events: list[Any] = [event async for event in stream]
        found = await client.responses.retrieve(events[0].response.id, stream=True)
        assert [event async for event in found] == events
