"""Requests made of OpenAI's own description of its API: no fault of ours, and no answer outside of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import orjson
import pytest

from tests.plugins.tiers import TIER, Tier
from tests.support import reference
from tests.support.client import client_of, error_in
from tests.support.generated import cases_of, faults_of
from tests.support.live import LiveGateway
from tests.support.patience import GIVE_UP_SECONDS
from tests.support.rows import Customer

PER_OPERATION_AND_MODE = 280 if TIER is Tier.PROOF else 1  # nineteen operations
SERVED = ("/chat/completions", "/conversations", "/models", "/responses")
MODELS = {
    "chat/completions": ("sandbox-chat", "sandbox-responses"),
    "responses": ("sandbox-responses", "sandbox-chat", "sandbox-anthropic"),
}


# What is null in OpenAI's own answers, though the description calls it a text: a user who was not named, the
# ids of an empty list.
NULL_IN_ANSWERS = frozenset({"user", "first_id", "last_id"})


def described() -> Any:
    """Return OpenAI's description without `oneOf`, whose alternatives overlap, so that each matches several,
    without `discriminator`, whose values are not the names that OpenAPI asks for, and with what its answers
    have and it does not say.
    """
    raw = reference.path_to("schemas/openai-openapi-2026-08-21-subset.json").read_bytes()
    found = _undiscriminated(orjson.loads(raw.replace(b'"oneOf"', b'"anyOf"')))
    _complete(found)
    # The messages of a stored completion are those that were sent, too; it says they are all the model's.
    kept = found["components"]["schemas"]["ChatCompletionMessageList"]["properties"]["data"]
    kept["items"] = {"type": "object", "required": ["id", "role"]}
    schemas = found["components"]["schemas"]
    # Of an output in progress, which may be sent, one half of what is listed says that there is none.
    del schemas["ComputerToolCallOutputResource"]["allOf"][1]["properties"]["status"]
    # These may be sent, and it does not say how they are listed.
    unlisted = {"type": {"enum": ["compaction_trigger", "configuration_update"]}}
    listed = schemas["ConversationItem"]["anyOf"]
    listed.append({"type": "object", "properties": unlisted, "required": ["id", "type"]})
    return found


def _complete(value: Any) -> None:
    if isinstance(value, dict):
        properties = value.get("properties")
        if isinstance(properties, dict):
            for name in properties.keys() & NULL_IN_ANSWERS:
                if properties[name].get("type") == "string":
                    properties[name]["type"] = ["string", "null"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            _complete(each)


def _undiscriminated(value: Any) -> Any:
    if isinstance(value, list):
        return [_undiscriminated(each) for each in value]
    if not isinstance(value, dict):
        return value
    is_mark = isinstance(value.get("discriminator"), dict) and "anyOf" in value
    left = {name: each for name, each in value.items() if not (is_mark and name == "discriminator")}
    return {name: _undiscriminated(each) for name, each in left.items()}


def ids_of(gateway: LiveGateway, acme: Customer) -> dict[str, str]:
    """Store one of each thing; return what paths call them."""
    said = [{"type": "message", "role": "user", "content": "Hi"}]
    asked = {"messages": [{"role": "user", "content": "Hi"}], "store": True}
    with client_of(gateway, acme) as http:
        kept = http.post("/conversations", json={"items": said}).json()["id"]
        items = http.get(f"/conversations/{kept}/items").json()["data"]
        response = http.post("/responses", json={"model": "sandbox-responses", "input": "Hi"})
        completion = http.post("/chat/completions", json={"model": "sandbox-chat", **asked})
    return {
        "conversation_id": kept,
        "item_id": items[0]["id"],
        "response_id": response.json()["id"],
        "completion_id": completion.json()["id"],
        "model": "sandbox-chat",
    }


def make_sensible(known: Mapping[str, str], case: Any, chance: int) -> None:
    """Let three of four requests name a model and rows that there are."""
    if not chance % 4:
        return
    for name in set(case.path_parameters or {}) & set(known):
        case.path_parameters[name] = known[name]
    path = case.operation.path.strip("/")
    if isinstance(case.body, dict) and path in MODELS:
        case.body["model"] = MODELS[path][chance % len(MODELS[path])]


def faults(case: Any, answer: Any, *, is_sound: bool) -> list[str]:
    """Return what is wrong with an answer. Its shape is looked at where the request was `is_sound`: fields
    that are passed on to a model unread are told again as they came."""
    kind = answer.headers.get("content-type", [""])[0]
    if answer.status_code < 300:
        if is_sound and kind.startswith("application/json"):
            return faults_of(case, answer, ["response_schema_conformance"])
        return []
    if answer.status_code < 500:
        error_in(answer.content)  # asserts the envelope
        return []
    return [f"{case.method} {answer.request.url} {answer.request.body!r}: {answer.status_code}"]


@pytest.mark.long
def test_no_request_of_openais_own_schema_finds_a_fault(gateway: LiveGateway, acme: Customer):
    import schemathesis  # noqa: PLC0415

    modes = schemathesis.GenerationMode
    schema = schemathesis.openapi.from_dict(described())
    operations = [each.ok() for each in schema.get_all_operations()]  # type: ignore[union-attr]
    served = [each for each in operations if each.path.startswith(SERVED)]
    wrong: list[str] = []
    count = 0
    known = ids_of(gateway, acme)
    for operation in served:
        for mode in (modes.POSITIVE, modes.NEGATIVE):
            change = partial(make_sensible, known)
            for case in cases_of(operation, mode, PER_OPERATION_AND_MODE, change):
                count += 1
                answer = case.call(
                    base_url=gateway.base_url, headers=acme.headers, timeout=GIVE_UP_SECONDS
                )
                wrong.extend(faults(case, answer, is_sound=mode is modes.POSITIVE))
            if operation.method == "delete":
                known = ids_of(gateway, acme)
    assert wrong == []
    assert count >= (10_000 if TIER is Tier.PROOF else 20)
