"""Every recorded and captured request, towards every upstream it can be translated to."""

from __future__ import annotations

from tests.plugins.cases import cases
from tests.support.requests import check, recorded, sent, target

CLAUDES = ("claude-haiku-4-5", "claude-opus-5")


@cases("body", lambda: recorded("responses"))
def test_a_responses_request_reaches_chat_in_its_form(body) -> None:
    check("chat", sent("responses", body, target("chat"), drop_unsupported=True))


@cases("model", CLAUDES)
@cases("body", lambda: recorded("responses"))
def test_a_responses_request_reaches_anthropic_in_its_form(body, model) -> None:
    to = target("anthropic", model=model)
    check("anthropic", sent("responses", body, to, drop_unsupported=True))


@cases("body", lambda: recorded("chat"))
def test_a_chat_request_reaches_responses_in_its_form(body) -> None:
    check("responses", sent("chat", body, target("responses"), drop_unsupported=True))


@cases("model", CLAUDES)
@cases("body", lambda: recorded("chat"))
def test_a_chat_request_reaches_anthropic_in_its_form(body, model) -> None:
    to = target("anthropic", model=model)
    check("anthropic", sent("chat", body, to, drop_unsupported=True))


@cases("body", lambda: recorded("chat"))
def test_a_chat_request_means_the_same_after_the_way_there_and_back(body) -> None:
    back = sent("chat", body, target("chat"), drop_unsupported=True)
    check("chat", back)
    assert conversation(back) == conversation(body)
    assert tools(back) == tools(body)
    for name in ("temperature", "top_p", "seed", "stop", "reasoning_effort", "stream"):
        assert back.get(name) == body.get(name)
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    assert back.get("max_completion_tokens") == limit


@cases("body", lambda: recorded("responses"))
def test_no_word_of_a_responses_request_is_lost(body) -> None:
    words = list(spoken(body))
    for to in (target("chat"), target("anthropic")):
        upstream = "\n".join(strings(sent("responses", body, to, drop_unsupported=True)))
        assert [text for text in words if text not in upstream] == []


def conversation(body: dict) -> list[tuple]:
    """Return who said what, whichever way it was written."""
    said: list[tuple] = []
    for message in body["messages"]:
        role = "system" if message["role"] == "developer" else message["role"]
        calls = [(call["id"], call["function"]) for call in message.get("tool_calls") or ()]
        said.append((role, content(message), calls, message.get("tool_call_id")))
    return said


def content(message: dict) -> list:
    """Adjacent texts are one."""
    found = message.get("content") or []
    parts: list = [{"type": "text", "text": found}] if isinstance(found, str) else found
    images = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    return ["".join(part["text"] for part in parts if part["type"] == "text"), images]


def tools(body: dict) -> list[tuple]:
    functions = [tool["function"] for tool in body.get("tools") or ()]
    return [
        (f["name"], f.get("description") or None, f.get("parameters"), bool(f.get("strict")))
        for f in functions
    ]


def spoken(body: dict):
    """The texts of a conversation that a model reads."""
    yield from filter(None, [body.get("instructions")])
    items = body["input"]
    for item in items if isinstance(items, list) else [{"content": items}]:
        for name in ("content", "output"):
            if item.get("type") != "tool_search_output":
                yield from filter(str.strip, texts(item.get(name)))


def texts(found) -> list[str]:
    if isinstance(found, list):
        return [part["text"] for part in found if isinstance(part.get("text"), str)]
    return [found] if isinstance(found, str) else []


def strings(value):
    match value:
        case str():
            yield value
        case dict():
            for inner in value.values():
                yield from strings(inner)
        case list():
            for inner in value:
                yield from strings(inner)
