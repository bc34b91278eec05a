"""The official SDK's `responses.connect()`, with and without asyncio, over every upstream protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI
from openai.resources.responses.responses import AsyncResponsesConnection, ResponsesConnection
from openai.types.responses import Response
from websockets.exceptions import InvalidStatus

from tests.support.patience import until

pytestmark = [
    pytest.mark.clients,
    # How the SDK itself uses the library, which wants it otherwise since 17.1.
    pytest.mark.filterwarnings(r"ignore:connect\(\) must be used as a context:DeprecationWarning"),
]

TERMINAL = {"response.completed", "response.failed", "response.incomplete", "error"}
each_protocol = pytest.mark.parametrize("protocol", ["chat", "responses", "anthropic"])
FUNCTION: Any = {"type": "function", "name": "look_up", "parameters": {"type": "object"}}


@pytest.fixture
def client(gateway, acme) -> Iterator[OpenAI]:
    with OpenAI(base_url=gateway.base_url, api_key=acme.secret, max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(gateway, acme) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=gateway.base_url, api_key=acme.secret, max_retries=0) as client:
        yield client


def last(connection: ResponsesConnection) -> Any:
    """The event that ends the response which comes next."""
    for event in connection:
        if event.type in TERMINAL:
            return event
    raise AssertionError("the connection ended first")


async def last_of(connection: AsyncResponsesConnection) -> Any:
    async for event in connection:
        if event.type in TERMINAL:
            return event
    raise AssertionError("the connection ended first")


def answer(event: Any) -> Response:
    assert event.type == "response.completed", event
    response: Response = event.response
    return response


@each_protocol
def test_turns_of_the_sdk(gateway, client, protocol):
    model = f"sandbox-{protocol}"
    with client.responses.connect() as connection:
        connection.response.create(model=model, input="My name is Ada.", store=False)
        first = answer(last(connection))
        connection.response.create(
            model=model, input="Who?", store=False, previous_response_id=first.id
        )
        second = answer(last(connection))
    assert first.output_text == "You said: My name is Ada."
    assert second.output_text == "You said: Who?"
    assert second.usage is not None
    assert second.usage.total_tokens > 0
    gateway.idle()
    assert "My name is Ada." in str(gateway.sandbox.calls[-1].body)


@each_protocol
async def test_turns_of_the_sdk_with_asyncio(async_client, protocol):
    model = f"sandbox-{protocol}"
    async with async_client.responses.connect() as connection:
        await connection.response.create(model=model, input="Hi", generate=False, store=False)
        prepared = answer(await last_of(connection))
        await connection.response.create(
            model=model,
            input="[tool] weather?",
            tools=[FUNCTION],
            store=False,
            previous_response_id=prepared.id,
        )
        called = answer(await last_of(connection))
        (call,) = called.output
        assert call.type == "function_call"
        await connection.response.create(
            model=model,
            input=[{"type": "function_call_output", "call_id": call.call_id, "output": "Rain."}],
            tools=[FUNCTION],
            store=False,
            previous_response_id=called.id,
        )
        told = answer(await last_of(connection))
    assert prepared.output == []
    assert told.output_text == "The tool answered: Rain."


@each_protocol
async def test_lanes_of_the_sdk(async_client, protocol):
    async with async_client.responses.connect() as connection:
        for lane in ("one", "two"):
            await connection.response.create(
                model=f"sandbox-{protocol}", input=f"This is {lane}.", stream_id=lane
            )
        found = {}
        for _ in range(2):
            event = await last_of(connection)
            found[event.stream_id] = answer(event).output_text
    assert found == {"one": "You said: This is one.", "two": "You said: This is two."}


def test_an_error_of_the_sdk(client):
    with client.responses.connect() as connection:
        connection.response.create(model="sandbox-chat", input="Hi", previous_response_id="resp_no")
        event = last(connection)
        assert (event.type, event.status) == ("error", 400)
        assert event.error.code == "previous_response_not_found"
        assert event.error.headers["x-request-id"].startswith("req_")


def test_steering_of_the_sdk(client):
    with client.responses.connect() as connection:
        connection.response.steer(previous_response_id="resp_1", input="Shorter")
        event: Any = connection.recv()
    assert (event.type, event.error.code) == ("response.steer.failed", "steering_not_supported")
    assert event.steer.input == "Shorter"


def test_handlers_of_the_sdk(client):
    texts: list[str] = []
    with client.responses.connect() as connection:
        connection.on("response.output_text.delta", lambda event: texts.append(event.delta))
        connection.on("response.completed", lambda event: connection.close())
        connection.response.create(model="sandbox-responses", input="Hello there")
        connection.dispatch_events()
    assert "".join(texts) == "You said: Hello there"


def test_a_bad_key_of_the_sdk(gateway):
    client = OpenAI(base_url=gateway.base_url, api_key="tg_live_wrong", max_retries=0)
    with client, pytest.raises(InvalidStatus) as caught, client.responses.connect():
        pass
    assert caught.value.response.status_code == 401


def test_the_sdk_connects_again_when_a_connections_time_is_over(gateway, client):
    codes: list[int] = []

    def reconnecting(event: Any) -> None:
        """Messages that are sent meanwhile wait for the new connection."""
        codes.append(event.close_code)
        connection.response.create(
            model="sandbox-responses", input="After", previous_response_id=first.id
        )

    with client.responses.connect(on_reconnecting=reconnecting, initial_delay=0.01) as connection:
        connection.response.create(model="sandbox-responses", input="Before")
        first = answer(last(connection))
        gateway.sockets_time_is_over()
        assert last(connection).error.code == "websocket_connection_limit_reached"
        second = answer(last(connection))
    assert second.output_text == "You said: After"
    assert codes == [1001]
    until(lambda: len(gateway.worker.services.registry.sockets) == 0)
