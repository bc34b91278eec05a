"""OpenAI Responses: reading the request, and the Response object a Plan becomes."""

from collections.abc import Iterator

from gateway_project.lib.json import Json
from gateway_project.sandbox.ask import Offer, PlainRequest, Thread, dicts, fields, whole_number
from gateway_project.sandbox.plan import AnswerPlan, ScriptedUsage, ToolUse
from gateway_project.sandbox.stamp import Stamp


def missing(body: Json) -> str | None:
    """Return the name of a required field that is missing."""
    if not isinstance(body.get("model"), str):
        return "model"
    continues = body.get("previous_response_id") or body.get("conversation") or body.get("prompt")
    return None if continues or isinstance(body.get("input"), str | list) else "input"


def read(body: Json) -> PlainRequest:
    thread = Thread()
    thread.other(body.get("instructions"))
    tools = list(dicts(body.get("tools")))
    given = body.get("input")
    for item in [{"role": "user", "content": given}] if isinstance(given, str) else dicts(given):
        _take(item, thread, tools)
    choice = body.get("tool_choice")
    return PlainRequest(
        text=thread.text,
        results=tuple(thread.results),
        input_bytes=thread.bytes,
        answered=thread.answered,
        offers=tuple(_chosen(tools, choice)),
        must_call=choice == "required" or _forces(choice),
        parallel=body.get("parallel_tool_calls") is not False,
        max_tokens=whole_number(body.get("max_output_tokens")),
        schema=_schema(body.get("text")),
        reason=_reasons(body.get("reasoning")),
        compact=_compacts(given),
    )


def answer(body: Json, plan: AnswerPlan, stamp: Stamp) -> Json:
    return finished(body, plan, stamp, output(plan, stamp))


def shell(body: Json, stamp: Stamp) -> Json:
    """Return the Response before there is output: the effective value of every parameter."""

    def given(name: str, default: object = None) -> object:
        value = body.get(name)
        return default if value is None else value

    return {
        "id": stamp.id("resp_"),
        "object": "response",
        "created_at": stamp.created,
        "status": "in_progress",
        "background": given("background", False),
        "completed_at": None,
        "conversation": _conversation(body.get("conversation")),
        "error": None,
        "frequency_penalty": given("frequency_penalty", 0.0),
        "incomplete_details": None,
        "instructions": given("instructions"),
        "max_output_tokens": given("max_output_tokens"),
        "max_tool_calls": given("max_tool_calls"),
        "model": stamp.model,
        "moderation": None,
        "output": [],
        "parallel_tool_calls": given("parallel_tool_calls", True),
        "presence_penalty": given("presence_penalty", 0.0),
        "previous_response_id": given("previous_response_id"),
        "prompt_cache_key": given("prompt_cache_key"),
        "prompt_cache_retention": given("prompt_cache_retention"),
        "reasoning": {"effort": None, "summary": None} | fields(body.get("reasoning")),
        "safety_identifier": given("safety_identifier"),
        "service_tier": _tier(body.get("service_tier")),
        "store": given("store", True),
        "temperature": given("temperature", 1.0),
        "text": {"format": {"type": "text"}, "verbosity": "medium"} | fields(body.get("text")),
        "tool_choice": given("tool_choice", "auto"),
        "tools": [_echoed(tool) for tool in dicts(body.get("tools"))],
        "top_logprobs": given("top_logprobs", 0),
        "top_p": given("top_p", 1.0),
        "truncation": given("truncation", "disabled"),
        "usage": None,
        "user": given("user"),
        "metadata": given("metadata", {}),
    }


def finished(body: Json, plan: AnswerPlan, stamp: Stamp, items: list[Json]) -> Json:
    """Return the Response at its end: completed, or incomplete if the token limit cut it."""
    whole = shell(body, stamp) | {"output": items, "usage": usage(plan)}
    if plan.stop == "length":
        return whole | {
            "status": "incomplete",
            "incomplete_details": {"reason": "max_output_tokens"},
        }
    return whole | {"status": "completed", "completed_at": stamp.created}


def usage(plan: AnswerPlan) -> Json | None:
    return None if plan.usage_mode == "none" else usage_of(plan.usage)


def usage_of(counts: ScriptedUsage) -> Json:
    return {
        "input_tokens": counts.input,
        "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": counts.cached},
        "output_tokens": counts.output,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning},
        "total_tokens": counts.total,
    }


def output(plan: AnswerPlan, stamp: Stamp) -> list[Json]:
    """Return the finished items, in the order in which a stream opens them."""
    items: list[Json] = []
    cut = plan.stop == "length"
    if plan.reasoning:
        items.append(reasoning_item(plan.reasoning, stamp))
    if plan.text:
        items.append(
            message_item(text_part(plan.text), stamp, "incomplete" if cut else "completed")
        )
    if plan.refusal:
        items.append(message_item(refusal_part(plan.refusal), stamp, "completed"))
    for number, use in enumerate(plan.tools):
        items.append(tool_item(use, stamp, number, use.arguments, "completed"))
    if plan.compact:
        items.append(compaction_item(stamp))
    return items


def reasoning_item(text: str, stamp: Stamp) -> Json:
    summary = [{"type": "summary_text", "text": text}] if text else []
    return {
        "id": stamp.id("rs_"),
        "type": "reasoning",
        "encrypted_content": stamp.sealed(),
        "summary": summary,
    }


def compaction_item(stamp: Stamp) -> Json:
    return {"id": stamp.id("cmp_"), "type": "compaction", "encrypted_content": stamp.sealed()}


def message_item(part: Json | None, stamp: Stamp, status: str) -> Json:
    return {
        "id": stamp.id("msg_"),
        "type": "message",
        "status": status,
        "content": [part] if part else [],
        "role": "assistant",
    }


def text_part(text: str) -> Json:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def refusal_part(text: str) -> Json:
    return {"type": "refusal", "refusal": text}


def tool_item(use: ToolUse, stamp: Stamp, number: int, arguments: str, status: str) -> Json:
    custom = use.offer.kind == "custom"
    item: Json = {
        "id": stamp.id("ctc_" if custom else "fc_", number),
        "type": "custom_tool_call" if custom else "function_call",
        "status": status,
        "call_id": stamp.id("call_", number),
        "name": use.offer.name,
        "input" if custom else "arguments": arguments,
    }
    if use.offer.namespace is not None:
        item["namespace"] = use.offer.namespace
    return item


def _take(item: Json, thread: Thread, tools: list[Json]) -> None:
    kind = str(item.get("type", "message"))
    if kind == "message" and item.get("role") == "user":
        thread.user(item.get("content"))
    elif kind == "message":
        thread.other(item.get("content"))
    elif kind == "additional_tools":
        tools.extend(dicts(item.get("tools")))
    elif kind.endswith("_call_output"):
        thread.result(item.get("output"), item.get("call_id"))
    elif kind.endswith("_call"):
        thread.call(item.get("call_id"), item.get("name"))


def _chosen(tools: list[Json], choice: object) -> Iterator[Offer]:
    offers = (offer for tool in tools for offer in _offers(tool, None))
    match choice:
        case "none":
            return
        case {"type": "allowed_tools", "tools": list(allowed)}:
            names = {tool.get("name") for tool in dicts(allowed)}
        case {"type": "function" | "custom", "name": name}:
            names = {name}
        case _:
            yield from offers
            return
    yield from (offer for offer in offers if offer.name in names)


def _offers(tool: Json, namespace: str | None) -> Iterator[Offer]:
    name = str(tool.get("name"))
    match tool.get("type"):
        case "function":
            yield Offer(name, "function", tool.get("parameters"), namespace)
        case "custom":
            yield Offer(name, "custom", None, namespace)
        case "namespace":
            for inner in dicts(tool.get("tools")):
                yield from _offers(inner, name)


def _forces(choice: object) -> bool:
    match choice:
        case {"type": "function" | "custom"} | {"type": "allowed_tools", "mode": "required"}:
            return True
    return False


def _schema(wanted: object) -> Json | None:
    match wanted:
        case {"format": {"type": "json_schema", "schema": dict(schema)}}:
            return schema
        case {"format": {"type": "json_object"}}:
            return {}
    return None


def _reasons(wanted: object) -> bool:
    match wanted:
        case {"effort": str(effort)}:
            return effort != "none"
        case {"summary": str()}:
            return True
    return False


def _compacts(given: object) -> bool:
    match given:
        case [*_, {"type": "compaction_trigger"}]:
            return True
    return False


def _conversation(given: object) -> object:
    return {"id": given} if isinstance(given, str) else given


def _tier(given: object) -> object:
    return "default" if given in (None, "auto") else given


def _echoed(tool: Json) -> Json:
    """Return a tool as OpenAI echoes it: with the defaults filled in."""
    if tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, "strict": True} | tool
