"""LangChain's ChatOpenAI, over /responses and over /chat/completions."""

from __future__ import annotations

from functools import partial
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel
from scenarios import API_KEY, BASE_URL, FAILING_MODEL, MODEL, failure, tell

DOORS = {"responses": True, "chat": False}


class City(BaseModel):
    """A city."""

    city: str


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def chat_model(door: str, model: str = MODEL) -> ChatOpenAI:
    return ChatOpenAI(
        model=model,
        base_url=BASE_URL,
        api_key=API_KEY,
        use_responses_api=DOORS[door],
        stream_usage=True,  # with another base_url than OpenAI's it does not ask for usage
    )


def said(message: BaseMessage) -> dict[str, Any]:
    assert isinstance(message, AIMessage)
    usage = message.usage_metadata or {"input_tokens": 0, "output_tokens": 0}
    return {
        "text": message.text,
        "has_usage": usage["input_tokens"] > 0 and usage["output_tokens"] > 0,
    }


async def streamed(runnable: Any, given: Any) -> BaseMessage:
    chunks = [chunk async for chunk in runnable.astream(given)]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


async def round_trip(door: str, ask: Any) -> Any:
    """A tool call, its result, and the answer."""
    bound = chat_model(door).bind_tools([get_weather])
    history: list[BaseMessage] = [HumanMessage("[tools=2] Weather?")]
    asked = await ask(bound, history)
    results = [await get_weather.ainvoke(call) for call in asked.tool_calls]
    assert all(isinstance(result, ToolMessage) for result in results)
    answer = await ask(bound, [*history, asked, *results])
    return {**said(answer), "calls": [(call["name"], call["args"]) for call in asked.tool_calls]}


async def invoke(door: str) -> Any:
    message = chat_model(door).invoke("How are you?")
    return {**said(message), "model": message.response_metadata["model_name"]}


async def ainvoke(door: str) -> Any:
    return said(await chat_model(door).ainvoke("How are you?"))


async def stream(door: str) -> Any:
    return said(await streamed(chat_model(door), "How are you?"))


async def tools(door: str) -> Any:
    return await round_trip(door, lambda bound, history: bound.ainvoke(history))


async def streamed_tools(door: str) -> Any:
    return await round_trip(door, streamed)


async def several_turns(door: str) -> Any:
    history: list[BaseMessage] = [HumanMessage("First")]
    history += [await chat_model(door).ainvoke(history), HumanMessage("Second")]
    return said(await chat_model(door).ainvoke(history))


async def continued() -> Any:
    """Only what is new is sent; the response before it is named."""
    model = ChatOpenAI(
        model=MODEL, base_url=BASE_URL, api_key=API_KEY, use_previous_response_id=True
    )
    history: list[BaseMessage] = [HumanMessage("First")]
    history += [await model.ainvoke(history), HumanMessage("Second")]
    return said(await model.ainvoke(history))


async def structured(door: str) -> Any:
    answer = await chat_model(door).with_structured_output(City).ainvoke("A city")
    return answer.model_dump()


async def structured_by_a_tool(door: str) -> Any:
    runnable = chat_model(door).with_structured_output(City, method="function_calling")
    return (await runnable.ainvoke("A city")).model_dump()


async def unknown_model(door: str) -> Any:
    return await failure(chat_model(door, "nothing").ainvoke("Hi"), "status_code", "code")


async def failing_stream(door: str) -> Any:
    return await failure(streamed(chat_model(door, FAILING_MODEL), "[chunks=9]"))


SCENARIOS = (
    invoke,
    ainvoke,
    stream,
    tools,
    streamed_tools,
    several_turns,
    structured,
    structured_by_a_tool,
    unknown_model,
    failing_stream,
)
tell(
    {
        f"{door}.{scenario.__name__}": partial(scenario, door)
        for door in DOORS
        for scenario in SCENARIOS
    }
    | {"continued": continued}
)
