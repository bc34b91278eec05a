"""Serve what OpenAI and Anthropic offer beside generation: counting tokens and compacting a conversation."""

from gateway_project.lib.json import Json
from gateway_project.sandbox import anthropic, responses
from gateway_project.sandbox.ask import PlainRequest, dicts
from gateway_project.sandbox.plan import AnswerPlan
from gateway_project.sandbox.stamp import Stamp


def input_tokens(body: Json, plan: AnswerPlan, stamp: Stamp) -> Json:
    return {"object": "response.input_tokens"} | _counted(plan)


def count_tokens(body: Json, plan: AnswerPlan, stamp: Stamp) -> Json:
    return _counted(plan)


def missing_to_count(body: Json) -> str | None:
    return anthropic.missing(_limited(body))


def read_to_count(body: Json) -> PlainRequest:
    return anthropic.read(_limited(body))


def compaction(body: Json, plan: AnswerPlan, stamp: Stamp) -> Json:
    """Return the user messages as they came, then one opaque item for all the rest."""
    return {
        "id": stamp.id("resp_"),
        "object": "response.compaction",
        "created_at": stamp.created,
        "output": [*_user_messages(body, stamp), responses.compaction_item(stamp)],
        "usage": responses.usage(plan),
    }


def _counted(plan: AnswerPlan) -> Json:
    """Return the count the vendor would bill for the request; none if a fault withholds it."""
    return {} if plan.usage_mode == "none" else {"input_tokens": plan.usage.input}


def _limited(body: Json) -> Json:
    """Add the limit that only generation requires."""
    return {"max_tokens": 1} | body


def _user_messages(body: Json, stamp: Stamp) -> list[Json]:
    given = body.get("input")
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    users = (item for item in dicts(given) if item.get("role") == "user")
    return [_message(item, stamp, number) for number, item in enumerate(users)]


def _message(item: Json, stamp: Stamp, number: int) -> Json:
    content = item.get("content")
    if isinstance(content, str):
        content = [{"type": "input_text", "text": content}]
    whole = {"id": stamp.id("msg_", number), "status": "completed"} | item
    return whole | {"type": "message", "content": content}
