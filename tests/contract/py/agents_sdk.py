"""The OpenAI Agents SDK: its models, over /responses as HTTP and WebSocket, and over /chat/completions."""

from __future__ import annotations

from functools import partial
from typing import Any

from agents import (
    Agent,
    Model,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    OpenAIResponsesWSModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from pydantic import BaseModel
from scenarios import API_KEY, BASE_URL, FAILING_MODEL, MODEL, failure, tell

set_tracing_disabled(True)  # traces would go to OpenAI
client = AsyncOpenAI(base_url=BASE_URL, api_key=API_KEY)

MODELS: dict[str, type[Model]] = {
    "responses": OpenAIResponsesModel,
    "websocket": OpenAIResponsesWSModel,
    "chat": OpenAIChatCompletionsModel,
}
WITH_USAGE = ModelSettings(include_usage=True)  # or its chat model does not ask for any


class City(BaseModel):
    city: str


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def agent(kind: str, model: str = MODEL, **fields: Any) -> Agent:
    return Agent(
        name="Tester",
        instructions="Be brief.",
        model=MODELS[kind](model=model, openai_client=client),
        model_settings=WITH_USAGE,
        **fields,
    )


def said(result: Any) -> dict[str, Any]:
    usage = result.context_wrapper.usage
    return {
        "text": result.final_output,
        "requests": usage.requests,
        "has_usage": usage.input_tokens > 0 and usage.output_tokens > 0,
    }


async def run(kind: str) -> Any:
    return said(await Runner.run(agent(kind), "How are you?"))


async def run_streamed(kind: str) -> Any:
    result = Runner.run_streamed(agent(kind), "How are you?")
    deltas = [
        event.data.delta
        async for event in result.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    return {**said(result), "deltas": "".join(deltas)}


async def tool(kind: str) -> Any:
    return said(await Runner.run(agent(kind, tools=[get_weather]), "[tool] Weather?"))


async def tool_streamed(kind: str) -> Any:
    result = Runner.run_streamed(agent(kind, tools=[get_weather]), "[tools=2] Weather?")
    items = [
        event.item.type
        async for event in result.stream_events()
        if event.type == "run_item_stream_event"
    ]
    return {**said(result), "items": items}


async def several_turns(kind: str) -> Any:
    first = await Runner.run(agent(kind, tools=[get_weather]), "[tool] Weather?")
    history = [*first.to_input_list(), {"role": "user", "content": "And now?"}]
    return said(await Runner.run(agent(kind, tools=[get_weather]), history))


async def continued() -> Any:
    """Each step sends only what is new and names the response before it."""
    assistant = agent("responses", tools=[get_weather])
    first = await Runner.run(assistant, "[tool] Weather?", auto_previous_response_id=True)
    second = await Runner.run(assistant, "And now?", previous_response_id=first.last_response_id)
    return [said(first), said(second)]


async def continued_streamed() -> Any:
    assistant = agent("responses", tools=[get_weather])
    texts = []
    last = None
    for question in ("[tools=2] Weather?", "[reason] And now?", "And then?"):
        result = Runner.run_streamed(
            assistant, question, previous_response_id=last, auto_previous_response_id=True
        )
        async for _ in result.stream_events():
            pass
        last = result.last_response_id
        texts.append(result.final_output)
    return texts


async def structured(kind: str) -> Any:
    result = await Runner.run(agent(kind, output_type=City), "A city")
    return result.final_output.model_dump()


async def handoff(kind: str) -> Any:
    specialist = agent(kind)
    result = await Runner.run(agent(kind, handoffs=[specialist]), "[tool] Help")
    return {**said(result), "calls": [type(item).__name__ for item in result.new_items]}


async def unknown_model(kind: str) -> Any:
    told = ("code",) if kind == "websocket" else ("status_code", "code")
    return await failure(Runner.run(agent(kind, "nothing"), "Hi"), *told)


async def failing_stream(kind: str) -> Any:
    async def read() -> None:
        async for _ in Runner.run_streamed(
            agent(kind, FAILING_MODEL), "[chunks=9]"
        ).stream_events():
            pass

    return await failure(read())


SCENARIOS = (
    run,
    run_streamed,
    tool,
    tool_streamed,
    several_turns,
    structured,
    handoff,
    unknown_model,
    failing_stream,
)
tell(
    {
        f"{kind}.{scenario.__name__}": partial(scenario, kind)
        for kind in MODELS
        for scenario in SCENARIOS
    }
    | {"continued": continued, "continued_streamed": continued_streamed}
)
