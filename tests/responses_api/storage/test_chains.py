"""Stored responses and what continues from them, over every upstream protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
from django.db import connection
from django.db.backends.utils import CursorWrapper

from gateway_project.lib import ids
from responses_api.models import Conversation, StoredItem, StoredResponse
from responses_api.storage import chains
from responses_api.storage.records import StoreSpec, insert_response, own_input
from routing.models import Provider
from routing.protocols.shared.envelope import Maker
from tests.responses_api.storage.calls import answered, ask, create, heard, sent
from tests.support import rows
from tests.support.client import error_of
from tests.support.rows import PROTOCOLS

Json = dict[str, Any]

each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)
streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def result(call_id: str, text: str = "sunny") -> Json:
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def reference(item: Json) -> Json:
    return {"type": "item_reference", "id": item["id"]}


@pytest.mark.persistence
@each_protocol
@streamed_or_not
def test_a_response_is_stored_before_its_client_knows_it_ended(http, protocol, stream):
    response = create(http, protocol, stream=stream)

    assert response["store"] is True
    row = StoredResponse.objects.get(id=response["id"])
    assert (row.status, row.parent_id, row.root_id) == ("completed", "", response["id"])
    sides = list(StoredItem.objects.filter(response=row).values_list("side", "position"))
    assert sides[0] == (0, 0)
    assert [orjson.loads(i.body) for i in row.items.filter(side=1)] == response["output"]


@pytest.mark.persistence
@each_protocol
@streamed_or_not
def test_a_fork_sees_its_own_chain_and_no_other(http, gateway, protocol, stream):
    a = create(http, protocol, input="first A", stream=stream)
    b = create(http, protocol, input="then B", previous_response_id=a["id"], stream=stream)
    create(http, protocol, input="then C", previous_response_id=b["id"], stream=stream)

    d = create(http, protocol, input="then D", previous_response_id=a["id"], stream=stream)

    assert d["previous_response_id"] == a["id"]
    assert heard(sent(gateway)) == [("user", "first A"), answered("first A"), ("user", "then D")]
    assert StoredResponse.objects.get(id=d["id"]).root_id == a["id"]


@each_protocol
def test_no_upstream_is_told_that_there_is_a_chain(http, gateway, protocol):
    first = create(http, protocol)
    create(http, protocol, previous_response_id=first["id"])

    told = orjson.dumps(sent(gateway)).decode()
    assert "previous_response_id" not in told
    assert first["id"] not in told


@each_protocol
@streamed_or_not
def test_the_instructions_of_a_turn_are_its_own(http, gateway, protocol, stream):
    first = create(http, protocol, instructions="Talk like a pirate.", stream=stream)
    assert "pirate" in str(sent(gateway))

    second = create(http, protocol, previous_response_id=first["id"], stream=stream)

    assert "pirate" not in str(sent(gateway))
    assert second["instructions"] is None


@each_protocol
@streamed_or_not
def test_a_tool_is_called_in_one_turn_and_its_result_given_in_the_next(
    http, gateway, protocol, stream
):
    first = create(http, protocol, input="[tool] Weather?", tools=[WEATHER], stream=stream)
    (call,) = (item for item in first["output"] if item["type"] == "function_call")

    second = create(
        http,
        protocol,
        input=[result(call["call_id"])],
        tools=[WEATHER],
        previous_response_id=first["id"],
        stream=stream,
    )

    assert second["output"][0]["content"][0]["text"] == "The tool answered: sunny"


@each_protocol
@streamed_or_not
def test_a_result_of_an_unknown_call_is_refused_before_anything_is_sent(
    http, gateway, protocol, stream
):
    first = create(http, protocol, input="[tool] Weather?", tools=[WEATHER])
    other = create(http, protocol, input="[tool] Weather?", tools=[WEATHER])
    (elsewhere,) = (item for item in other["output"] if item["type"] == "function_call")
    before = len(gateway.sandbox.calls)

    alone = ask(http, protocol, input=[result("call_unknown")], stream=stream)
    in_chain = ask(
        http,
        protocol,
        input=[{"role": "user", "content": "Hi"}, result(elsewhere["call_id"])],
        previous_response_id=first["id"],
        stream=stream,
    )

    assert error_of(alone) == (400, "invalid_request", "input[0].call_id")
    assert error_of(in_chain) == (400, "invalid_request", "input[1].call_id")
    assert len(gateway.sandbox.calls) == before


@each_protocol
def test_a_call_that_nobody_answered_is_refused_by_the_field_the_client_sent(http, protocol):
    first = create(http, protocol, input="[tool] Weather?", tools=[WEATHER])

    answer = ask(http, protocol, previous_response_id=first["id"])

    if protocol == "responses":  # its own provider decides what it makes of it
        assert answer.status_code == 200
    else:
        assert error_of(answer) == (400, "invalid_request", "previous_response_id")


@pytest.mark.persistence
@each_protocol
@streamed_or_not
def test_items_may_be_referred_to_instead_of_sent(http, gateway, protocol, stream):
    """The Vercel AI SDK does so on every turn."""
    first = create(http, protocol, input="First")
    question = {"role": "user", "content": "First"}
    again = {"role": "user", "content": "Second"}

    second = create(
        http,
        protocol,
        input=[question, *map(reference, first["output"]), again],
        stream=stream,
    )

    assert heard(sent(gateway)) == [("user", "First"), answered("First"), ("user", "Second")]
    kept = StoredItem.objects.filter(response=second["id"], side=0).values_list("body", flat=True)
    assert [orjson.loads(body).get("type") for body in kept] == ["message"] * 3


def test_a_call_may_be_referred_to_with_its_result(http, gateway):
    first = create(http, "chat", input="[tool] Weather?", tools=[WEATHER])
    call = first["output"][-1]
    question = {"role": "user", "content": "[tool] Weather?"}

    second = create(
        http, "chat", input=[question, {"id": call["id"]}, result(call["call_id"])], tools=[WEATHER]
    )

    assert second["output"][0]["content"][0]["text"] == "The tool answered: sunny"


@pytest.mark.persistence
def test_more_references_than_a_query_takes_are_refused(http):
    question = {"role": "user", "content": "Hi"}

    most = ask(http, input=[question, *({"id": f"msg_{n}"} for n in range(5000))])
    more = ask(http, input=[question, *({"id": f"msg_{n}"} for n in range(5001))])

    assert error_of(most) == (400, "item_not_found", "input[1]")
    assert error_of(more) == (400, "invalid_request", "input")


@pytest.mark.persistence
@pytest.mark.parametrize("parent", ["resp_unknown", "", "\0", "x" * 65, "x" * 5000])
def test_a_parent_that_is_not_there_is_refused(http, gateway, parent):
    if not parent:
        assert create(http, previous_response_id=parent)["previous_response_id"] is None
        return
    answer = ask(http, previous_response_id=parent)

    assert error_of(answer) == (400, "previous_response_not_found", "previous_response_id")
    assert parent not in answer.text
    assert len(gateway.sandbox.calls) == 0


@pytest.mark.persistence
def test_what_builds_on_a_deleted_response_cannot_be_continued(http):
    a = create(http)
    b = create(http, previous_response_id=a["id"])
    c = create(http, previous_response_id=b["id"])
    StoredResponse.objects.filter(id=b["id"]).delete()

    for broken in (b, c):
        answer = ask(http, previous_response_id=broken["id"])
        assert error_of(answer) == (400, "previous_response_not_found", "previous_response_id")
    assert create(http, previous_response_id=a["id"])["status"] == "completed"


@pytest.mark.persistence
@pytest.mark.parametrize("status", ["queued", "in_progress", "failed", "cancelled"])
def test_only_what_has_ended_well_can_be_continued(http, status):
    first = create(http)
    StoredResponse.objects.filter(id=first["id"]).update(status=status)

    answer = ask(http, previous_response_id=first["id"])

    assert error_of(answer) == (400, "invalid_request", "previous_response_id")
    assert status in answer.json()["error"]["message"]


def test_what_was_cut_at_its_limit_can_be_continued(http, gateway):
    first = create(http, input="[size=4000]", max_output_tokens=16)
    assert first["status"] == "incomplete"

    assert create(http, input="Go on", previous_response_id=first["id"])["status"] == "completed"


def test_files_named_by_id_are_refused_also_when_they_are_part_of_the_history(http, acme, gateway):
    """Over a credential of the platform such an id may be another tenant's (docs/wire.md 6.6)."""
    own = rows.provider(
        "responses", gateway.sandbox.base_url, "own", "acmes-secret-1", tenant=acme.tenant
    )
    rows.alias("own", (own, "m"), tenant=acme.tenant)
    file = {"type": "input_file", "file_id": "file-of-somebody"}
    first = create(http, "own", input=[{"role": "user", "content": [file]}])
    stored = StoredItem.objects.get(response=first["id"], side=0)
    before = len(gateway.sandbox.calls)

    chained = ask(http, previous_response_id=first["id"])
    referred = ask(http, input=[{"role": "user", "content": "Hi"}, {"id": stored.item_id}])

    assert error_of(chained) == (400, "unsupported_parameter", "previous_response_id")
    assert error_of(referred) == (400, "unsupported_parameter", "input[1].content[0].file_id")
    assert len(gateway.sandbox.calls) == before
    assert create(http, "own", previous_response_id=first["id"])["status"] == "completed"


def test_where_code_was_run_does_not_keep_a_chain_from_going_on(http, acme, gateway):
    first = create(http)
    ran = {"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1", "code": "1"}
    StoredItem.objects.create(
        tenant=acme.tenant,
        response_id=first["id"],
        side=1,
        position=7,
        item_id="ci_1",
        body=orjson.dumps(ran),
    )

    assert create(http, previous_response_id=first["id"])["status"] == "completed"
    assert ran in sent(gateway)["input"]


# Long chains


def grow(tenant_id: int, turns: int) -> str:
    """The id of the last response of a chain of so many turns, made as the writer makes them. All turns
    are of the same size."""
    parent = root = ""
    for turn in range(turns):
        given = own_input(f"question {turn:04}")
        gave = own_input([{"role": "assistant", "content": f"answer {turn:04}"}])
        response: Json = {"id": ids.response_id(), "status": "completed", "output": gave}
        store_spec = StoreSpec(tenant_id, "key", "m", 30, given, parent_id=parent, root_id=root)
        with connection.cursor() as cursor:
            insert_response(cursor, store_spec, response, Maker("sandbox-chat"))
        parent = response["id"]
        root = root or parent
    return parent


class Reading:
    """Stands for the connection and counts what is read through it."""

    def __init__(self) -> None:
        self.statements = self.rows = self.bytes = 0

    @contextmanager
    def cursor(self) -> Iterator[Reading]:
        with connection.cursor() as self._cursor:
            yield self

    def execute(self, sql: str, params: Any) -> None:
        self.statements += 1
        self._cursor.execute(sql, params)

    def fetchall(self) -> list[Any]:
        rows: list[Any] = self._cursor.fetchall()
        self.rows += len(rows)
        self.bytes += sum(len(bytes(body)) for *_, body in rows)
        return rows


@pytest.mark.persistence
@pytest.mark.django_db
def test_a_chain_is_one_query_and_as_many_rows_and_bytes_as_it_has_turns(monkeypatch):
    tenant_id = rows.customer().tenant.pk

    def reading(turns: int) -> tuple[int, int, int]:
        last, found = grow(tenant_id, turns), Reading()
        with monkeypatch.context() as patch:
            patch.setattr(chains, "connection", found)
            chain = chains.load(tenant_id, last)
        assert chain is not None
        assert len(chain.items) == 2 * turns
        return found.statements, found.rows, found.bytes

    one_turn = reading(1)[2]
    assert [reading(turns) for turns in (50, 100, 200)] == [
        (1, 2 * turns, one_turn * turns) for turns in (50, 100, 200)
    ]


@pytest.mark.persistence
@pytest.mark.django_db
def test_the_whole_chain_is_loaded_by_the_database_in_one_query(django_assert_num_queries):
    tenant_id = rows.customer().tenant.pk
    last = grow(tenant_id, 200)

    with django_assert_num_queries(1):
        chain = chains.load(tenant_id, last)

    assert chain is not None
    assert [text_of(item) for item in chain.items[:3]] == [
        "question 0000",
        "answer 0000",
        "question 0001",
    ]


def text_of(item: Json) -> str:
    return str(item["content"][0]["text"])


@pytest.mark.persistence
@each_protocol
def test_the_two_hundredth_turn_costs_the_statements_of_the_second(
    http, acme, gateway, protocol, monkeypatch
):
    statements: list[str] = []
    for name in ("execute", "executemany"):
        monkeypatch.setattr(CursorWrapper, name, noting(getattr(CursorWrapper, name), statements))

    def cost_of_a_turn_after(parent: str) -> list[str]:
        statements.clear()
        create(http, protocol, input="And now?", previous_response_id=parent)
        return [sql.split()[0] for sql in statements if "responses_api_" in sql]

    second = cost_of_a_turn_after(create(http, protocol)["id"])
    last = grow(acme.tenant.pk, 199)

    assert cost_of_a_turn_after(last) == second == ["WITH", "INSERT", "INSERT"]
    conversation = heard(sent(gateway))
    assert len(conversation) == 2 * 199 + 1
    assert conversation[-2:] == [("assistant", "answer 0198"), ("user", "And now?")]


def noting(method: Callable[..., Any], statements: list[str]) -> Callable[..., Any]:
    def noted(cursor: Any, sql: str, *args: Any) -> Any:
        statements.append(sql)
        return method(cursor, sql, *args)

    return noted


# Conversations


@pytest.mark.persistence
@each_protocol
@streamed_or_not
def test_a_conversation_is_read_and_appended_to(http, acme, gateway, protocol, stream):
    Conversation.objects.create(id="conv_1", tenant=acme.tenant)

    for text in ("First", "Second"):
        response = create(http, protocol, input=text, conversation="conv_1", stream=stream)
        assert response["conversation"] == {"id": "conv_1"}

    assert heard(sent(gateway)) == [("user", "First"), answered("First"), ("user", "Second")]
    kept = [orjson.loads(item.body) for item in Conversation.objects.get().items.all()]
    assert [item["role"] for item in kept] == ["user", "assistant"] * 2


def test_what_a_failed_response_was_given_is_not_appended(http, acme, gateway):
    Conversation.objects.create(id="conv_1", tenant=acme.tenant)
    provider = Provider.objects.get(name="sandbox-responses")
    rows.alias("failing", (provider, "sandbox-fault-error-mid"))

    response = create(http, "failing", input="[chunks=9]", conversation="conv_1", stream=True)

    assert response["status"] == "failed"
    assert Conversation.objects.get().items.count() == 0


@pytest.mark.persistence
def test_a_response_of_a_conversation_brings_what_that_held_then(http, gateway):
    conversation = http.post(
        "/conversations", json={"items": [{"role": "user", "content": "said before"}]}
    ).json()
    first = create(http, "chat", input="first", conversation=conversation["id"])
    create(http, "chat", input="said later", conversation=conversation["id"])

    create(http, "chat", input="second", previous_response_id=first["id"])

    heard_then = str(sent(gateway))
    assert "said before" in heard_then
    assert "first" in heard_then
    assert "said later" not in heard_then


@streamed_or_not
def test_what_continues_with_a_text_is_sent_as_the_client_wrote_it(http, gateway, stream):
    first = create(http, "responses")
    create(http, "responses", input="And now?", previous_response_id=first["id"], stream=stream)

    *_, last = sent(gateway)["input"]
    assert set(last) == {"type", "role", "content"}
