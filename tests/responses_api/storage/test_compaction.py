"""Compaction and counting over HTTP: the upstream's own where it has one, ours where it has none."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from responses_api.compaction.sealed import PREFIX
from responses_api.models import StoredResponse
from routing.models import ProviderModel
from tests.support import grammar, reference, rows
from tests.support.live import LiveGateway
from tests.support.rows import Customer

Json = dict[str, Any]

each_protocol = pytest.mark.parametrize("protocol", ["chat", "responses", "anthropic"])
without_native = pytest.mark.parametrize("protocol", ["chat", "anthropic"])
streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])

CONVERSATION = [
    {"role": "user", "content": "The code word is heron."},
    {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "A lake."},
    {"role": "assistant", "content": "Noted."},
    {"role": "user", "content": "Go on."},
]


@pytest.fixture(autouse=True)
def bare(gateway: LiveGateway, acme: Customer) -> None:
    """An alias of a provider that neither compacts nor counts."""
    provider = rows.provider("responses", gateway.sandbox.base_url, "bare")
    rows.alias("bare", (provider, "sandbox-bare"))


def compact(http: httpx.Client, model: str, **fields: Any) -> Json:
    answer = http.post("/responses/compact", json={"model": model, "input": CONVERSATION, **fields})
    assert answer.status_code == 200, answer.text
    made: Json = answer.json()
    assert reference.explain(reference.open_responses_validator("CompactResource"), made) == []
    return made


def create(http: httpx.Client, model: str, **fields: Any) -> Json:
    answer = http.post("/responses", json={"model": model, **fields})
    assert answer.status_code == 200, answer.text
    if fields.get("stream"):
        return grammar.check_stream(answer.content)
    made: Json = answer.json()
    return made


def sent(gateway: LiveGateway) -> str:
    gateway.idle()
    return str(gateway.sandbox.calls[-1].body)


def kinds(items: list[Json]) -> list[str]:
    return [item["type"] for item in items]


@pytest.mark.parametrize("model", ["sandbox-chat", "sandbox-anthropic", "bare"])
def test_the_model_summarises_where_the_upstream_does_not_compact(http, gateway, model):
    made = compact(http, model)

    assert kinds(made["output"]) == ["message", "message", "compaction"]
    assert made["output"][0]["content"][0]["text"] == "The code word is heron."
    assert made["output"][-1]["encrypted_content"].startswith(PREFIX)
    assert made["usage"]["total_tokens"] > 0
    assert "A lake." in sent(gateway)

    window = [*made["output"], {"role": "user", "content": "What was it?"}]
    create(http, model, input=window)
    assert "Write the summary" in sent(gateway)  # the sandbox's summary repeats what it was asked
    assert PREFIX not in sent(gateway)


def test_a_native_upstream_compacts_by_itself(http, gateway):
    made = compact(http, "sandbox-responses")

    gateway.idle()
    assert gateway.sandbox.calls[-1].path.endswith("/responses/compact")
    assert made["object"] == "response.compaction"
    assert made["id"].startswith("resp_")
    assert not made["output"][-1]["encrypted_content"].startswith(PREFIX)


def test_a_stored_chain_is_compacted_by_its_id(http, gateway):
    first = create(http, "sandbox-chat", input="The code word is heron.")

    made = compact(http, "sandbox-chat", previous_response_id=first["id"], input="Shorter, please.")

    assert [item["content"][0]["text"] for item in made["output"][:-1]] == [
        "The code word is heron.",
        "Shorter, please.",
    ]


def test_compacting_without_a_model_is_refused(http):
    answer = http.post("/responses/compact", json={"input": "Hi"})

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "model"


def test_compacting_again_with_the_same_key_gives_the_same_answer(http, gateway):
    body = {"model": "sandbox-chat", "input": CONVERSATION}
    headers = {"idempotency-key": "once"}

    first = http.post("/responses/compact", json=body, headers=headers)
    again = http.post("/responses/compact", json=body, headers=headers)

    assert first.status_code == 200
    assert again.content == first.content
    assert len(gateway.sandbox.calls) == 1


def test_compacting_stores_nothing(http):
    compact(http, "sandbox-chat")

    assert not StoredResponse.objects.exists()


def _spoiled(content: str) -> str:
    middle = len(content) // 2
    return content[:middle] + ("A" if content[middle] != "A" else "B") + content[middle + 1 :]


@pytest.mark.parametrize("whose", ["tampered", "another tenant's"])
@streamed_or_not
def test_a_summary_only_its_tenant_was_given_opens(http, gateway, whose, stream):
    other = rows.customer("other")
    item = compact(http, "sandbox-chat")["output"][-1]
    headers = {}
    if whose == "tampered":
        item = {**item, "encrypted_content": _spoiled(item["encrypted_content"])}
    else:
        headers = other.headers

    answer = http.post(
        "/responses",
        json={
            "model": "sandbox-chat",
            "stream": stream,
            "input": [{"role": "user", "content": "Hi"}, item],
        },
        headers=headers,
    )

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_encrypted_content"
    assert answer.json()["error"]["param"] == "input[1].encrypted_content"


def test_a_summary_that_cannot_be_opened_is_named_where_the_client_put_it(http):
    first = create(http, "sandbox-chat", input="The code word is heron.")
    item = compact(http, "sandbox-chat")["output"][-1]
    spoiled = {**item, "encrypted_content": _spoiled(item["encrypted_content"])}
    body = {"model": "sandbox-chat", "previous_response_id": first["id"], "input": [spoiled]}

    answer = http.post("/responses", json=body)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "input[0].encrypted_content"
    assert "'input[0].encrypted_content'" in answer.json()["error"]["message"]


@without_native
@streamed_or_not
def test_a_trigger_gives_exactly_one_compaction_item(http, gateway, protocol, stream):
    given = [*CONVERSATION, {"type": "compaction_trigger"}]

    made = create(http, f"sandbox-{protocol}", input=given, stream=stream)

    assert kinds(made["output"]) == ["compaction"]
    assert made["status"] == "completed"
    going_on = create(
        http,
        f"sandbox-{protocol}",
        input="What was it?",
        previous_response_id=made["id"],
        stream=stream,
    )
    assert going_on["status"] == "completed"
    assert "Write the summary" in sent(gateway)
    assert "Noted." not in sent(gateway).replace("You said", "")


def test_a_trigger_is_the_native_upstreams_to_obey(http, gateway):
    given = [*CONVERSATION, {"type": "compaction_trigger"}]

    create(http, "sandbox-responses", input=given)

    assert "compaction_trigger" in sent(gateway)


def test_a_trigger_in_the_middle_is_refused(http):
    given = [{"type": "compaction_trigger"}, *CONVERSATION]

    answer = http.post("/responses", json={"model": "sandbox-chat", "input": given})

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "input[0].type"


@each_protocol
def test_a_trigger_in_a_conversation_stops_no_later_turn(http, gateway, protocol):
    model, trigger = f"sandbox-{protocol}", {"type": "compaction_trigger"}
    talk = http.post("/conversations", json={"items": [*CONVERSATION, trigger]}).json()["id"]
    http.post(f"/conversations/{talk}/items", json={"items": [trigger]}).raise_for_status()

    first = create(http, model, input="What was it?", conversation=talk)
    create(http, model, input="And now?", previous_response_id=first["id"])

    assert kinds(first["output"]) == ["message"]
    for call in gateway.sandbox.calls:
        assert "compaction_trigger" not in str(call.body)
        assert "heron" in str(call.body)


LONG = "All work and no play makes Jack a dull boy. " * 200


@without_native
@streamed_or_not
def test_what_grew_too_long_is_summarised_before_it_is_answered(http, gateway, protocol, stream):
    model = f"sandbox-{protocol}"
    manage = [{"type": "compaction", "compact_threshold": 1000}]
    first = create(http, model, input=LONG)

    made = create(
        http,
        model,
        input="And then?",
        previous_response_id=first["id"],
        context_management=manage,
        stream=stream,
    )

    assert kinds(made["output"]) == ["compaction", "message"]
    gateway.idle()
    summary, answered = list(gateway.sandbox.calls)[-2:]
    assert "Write the summary" in str(summary.body)
    assert "And then?" in str(answered.body)
    # The summary is paid for too: both inputs hold thousands of characters, the last alone does not.
    assert made["usage"]["input_tokens"] > 2000


@without_native
def test_what_is_short_enough_is_not_summarised(http, gateway, protocol):
    manage = [{"type": "compaction", "compact_threshold": 100_000}]

    made = create(http, f"sandbox-{protocol}", input=LONG, context_management=manage)

    assert kinds(made["output"]) == ["message"]
    assert len(gateway.sandbox.calls) == 1


@each_protocol
def test_the_upstreams_counter_is_asked_where_there_is_one(http, gateway, protocol):
    answer = http.post(
        "/responses/input_tokens", json={"model": f"sandbox-{protocol}", "input": CONVERSATION}
    )

    assert answer.status_code == 200, answer.text
    counted = answer.json()
    assert counted["object"] == "response.input_tokens"
    assert counted["input_tokens"] > 10
    is_estimate = answer.headers.get("x-tollgate-estimate") == "true"
    assert is_estimate == (protocol == "chat")
    assert len(gateway.sandbox.calls) == (0 if is_estimate else 1)


def test_an_upstream_without_a_counter_is_estimated_for(http):
    answer = http.post("/responses/input_tokens", json={"model": "bare", "input": "Hello there"})

    assert answer.status_code == 200, answer.text
    assert answer.headers["x-tollgate-estimate"] == "true"


def test_a_stored_chain_is_counted_with_what_continues_it(http):
    first = create(http, "sandbox-chat", input=LONG)

    answer = http.post(
        "/responses/input_tokens",
        json={"model": "sandbox-chat", "input": "Hi", "previous_response_id": first["id"]},
    )

    assert answer.json()["input_tokens"] > 1000


def _with_window(gateway: LiveGateway, tokens: int) -> None:
    ProviderModel.objects.filter(upstream_id="sandbox-1").update(context_window=tokens)
    gateway.call(gateway.worker.forget)  # now, instead of within half a second


@each_protocol
@streamed_or_not
def test_a_conversation_longer_than_the_window_is_refused(http, gateway, protocol, stream):
    _with_window(gateway, 500)

    answer = http.post(
        "/responses", json={"model": f"sandbox-{protocol}", "input": LONG, "stream": stream}
    )

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert list(gateway.sandbox.calls) == []


@each_protocol
def test_truncation_leaves_out_the_oldest_turns(http, gateway, protocol):
    model = f"sandbox-{protocol}"
    first = create(http, model, input=f"the oldest words {LONG}")
    _with_window(gateway, 1000)

    create(
        http, model, input="the newest words", previous_response_id=first["id"], truncation="auto"
    )

    assert "the newest words" in sent(gateway)
    assert "the oldest words" not in sent(gateway)
