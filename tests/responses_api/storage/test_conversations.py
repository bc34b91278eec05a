"""Conversations and their items: made, filled, read, changed, deleted, and appended to by many at once."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import pytest
from django.db import connection
from jsonschema import Draft202012Validator

from gateway_project.lib.errors import NotFound
from responses_api.models import Conversation, ConversationItem
from responses_api.storage import conversations
from responses_api.storage.conversations import Entry
from responses_api.storage.query import Paging
from routing.protocols.shared.envelope import NOBODY, Maker
from tenants.models import ApiKey
from tests.plugins.cases import cases
from tests.plugins.tiers import sampled
from tests.support import reference, stored
from tests.support.client import error_of
from tests.support.patience import GIVE_UP_SECONDS
from tests.support.stored import assistant, user

PREFIXES = ("/v1", "/openai/v1")
NO_IDS = (
    "conv_" + "0" * 48,
    "conv_1",
    "nothing",
    "conv_%00",
    "conv_" + "x" * 5000,
    "conv_a%2Fb",
    "a/b/c",
    "%ff",
)
NO_ITEMS = ("msg_nothing", "%00", "x" * 5000, "a/b/items", "%ff")
CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}


@pytest.fixture
def http(http_from_root: httpx.Client) -> httpx.Client:
    return http_from_root


def made(http: httpx.Client, *items: dict, **metadata: str) -> str:
    answer = http.post("/v1/conversations", json={"items": items, "metadata": metadata})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def nested(chance: random.Random, levels: int) -> Any:
    """Any JSON, deeper and deeper."""
    kinds: tuple[Any, ...] = (
        "message",
        "reasoning",
        "function_call",
        "function_call_output",
        "compaction",
        "x",
        None,
        [],
        {},
    )
    texts = ("", "a", "\x00", "[[[[", "user", "assistant", "input_text", "\U0001f600", "conv_1")
    if levels <= 0 or chance.random() < 0.1:
        return chance.choice([None, True, 0, -1, 2**63, 1e300, *texts])
    if chance.random() < 0.5:
        return [nested(chance, levels - 1) for _ in range(chance.randint(0, 3))]
    names = (
        "id",
        "role",
        "content",
        "text",
        "output",
        "summary",
        "call_id",
        "arguments",
        "status",
        "tools",
    )
    inner = {
        name: nested(chance, levels - 1) for name in chance.sample(names, chance.randint(0, 4))
    }
    return {"type": chance.choice(kinds), **inner} if chance.random() < 0.8 else inner


@pytest.mark.persistence
def test_nested_items_are_kept_or_refused_and_never_an_error_of_ours(http):
    chance = random.Random(13)
    some = [orjson.dumps(nested(chance, chance.randint(1, 7))) for _ in range(120)]
    for kind in ("x", "reasoning", "computer_call_output", "mcp_call", "program") * 8:
        built: dict[str, Any] = {
            "type": kind,
            "role": chance.choice(["user", None, []]),
            "output": "a",
            "action": {},
        }
        names = ("content", "output", "action", "status", "y")
        built |= {name: nested(chance, 5) for name in chance.sample(names, 2)}
        some.append(orjson.dumps(built))
    for levels in (50, 120, 125, 126, 200, 253, 260, 2000):
        deep = b"[" * levels + b"]" * levels
        some += [b'{"type":"x","content":%b}' % deep]
        some += [b'{"role":"user","content":"x","y":%b}' % deep]
    kept = []
    place = "/v1/conversations/" + made(http)
    plain = b'{"role":"user","content":"x"}'
    for item in [plain, *sampled(some, default=10, ci=20)]:
        for path in ("/v1/conversations", f"{place}/items"):
            items = item if chance.random() < 0.1 else b"[%b]" % item
            answer = http.post(path, content=b'{"items":%b,"metadata":{}}' % items)
            assert answer.status_code in {200, 400}, (item, answer.text)
            if answer.status_code == 200 and path.endswith("tions"):
                kept.append(answer.json()["id"])
        answer = http.post(place, content=b'{"metadata":%b}' % item)
        assert answer.status_code in {200, 400}, (item, answer.text)
    assert 0 < len(kept) < len(some)
    for number, conversation_id in enumerate(kept):
        for kept_item in listed(http, conversation_id):
            item_id = quote(kept_item["id"], safe="")
            found = http.get(f"/v1/conversations/{conversation_id}/items/{item_id}")
            assert found.status_code in {200, 404}, kept_item
        model = ("sandbox-chat", "sandbox-responses", "sandbox-anthropic")[number % 3]
        asked = {"model": model, "input": "Hello", "conversation": conversation_id}
        answer = http.post("/v1/responses", json=asked)
        assert answer.status_code in {200, 400}, (listed(http, conversation_id), answer.text)
        assert http.delete(f"/v1/conversations/{conversation_id}").status_code == 200


def listed(http: httpx.Client, conversation_id: str) -> list[dict]:
    query = {"limit": "100", "order": "asc"}
    return http.get(f"/v1/conversations/{conversation_id}/items", params=query).json()["data"]


def positions(conversation_id: str) -> list[int]:
    found = ConversationItem.objects.filter(conversation=conversation_id)
    return list(found.order_by("position").values_list("position", flat=True))


# The conversation


@pytest.mark.persistence
@cases("prefix", PREFIXES)
def test_a_conversation_is_made_read_changed_and_deleted(http, prefix):
    made = http.post(f"{prefix}/conversations", json={"metadata": {"topic": "Größe"}}).json()
    assert made == {
        "id": made["id"],
        "object": "conversation",
        "created_at": made["created_at"],
        "metadata": {"topic": "Größe"},
    }
    assert made["id"].startswith("conv_")
    path = f"{prefix}/conversations/{made['id']}"
    assert http.get(path).json() == made
    changed = http.post(path, json={"metadata": {"a": "1"}}).json()
    assert changed == {**made, "metadata": {"a": "1"}}
    assert http.get(path).json() == changed
    gone = http.delete(path)
    assert gone.json() == {"id": made["id"], "object": "conversation.deleted", "deleted": True}
    assert http.get(path).status_code == 404


@cases("body", [b"", b"{}", b'{"items": null, "metadata": null}'])
def test_everything_may_be_left_out(http, body):
    made = http.post("/v1/conversations", content=body).json()
    assert made["metadata"] == {}
    assert listed(http, made["id"]) == []


def test_metadata_can_be_removed(http):
    path = f"/v1/conversations/{made(http, a='1')}"
    assert http.post(path, json={"metadata": None}).json()["metadata"] == {}


@pytest.mark.persistence
def test_deleting_erases_the_items_too(http):
    conversation_id, other = made(http, user("one"), user("two")), made(http, user("three"))
    http.delete(f"/v1/conversations/{conversation_id}")
    assert Conversation.objects.values_list("pk", flat=True).get() == other
    assert ConversationItem.objects.count() == 1


# What a body may hold


@pytest.mark.parametrize(
    ("metadata", "param"),
    [
        ({f"k{n}": "v" for n in range(17)}, "metadata"),
        ({"k" * 65: "v"}, "metadata"),
        ({"": "v"}, "metadata"),
        ({"k": "v" * 513}, "metadata[...]"),
        ({"k": 1}, "metadata[...]"),
        ({"k": None}, "metadata[...]"),
        ({"k": {}}, "metadata[...]"),
        ({"k": "\0"}, "metadata"),
        ({"\0": "v"}, "metadata"),
        ([], "metadata"),
        ("text", "metadata"),
    ],
)
def test_metadata_has_limits(http, metadata, param):
    conversation_id = made(http)
    for path in ("/v1/conversations", f"/v1/conversations/{conversation_id}"):
        answer = http.post(path, json={"metadata": metadata})
        assert error_of(answer) == (400, "invalid_request", param)
    assert Conversation.objects.count() == 1


@pytest.mark.persistence
def test_metadata_may_fill_its_limits(http):
    metadata = {f"{n:064}": "ö" * 512 for n in range(16)}
    assert (
        http.post("/v1/conversations", json={"metadata": metadata}).json()["metadata"] == metadata
    )


@pytest.mark.parametrize(
    ("items", "param"),
    [
        ([user("x")] * 21, "items"),
        ("text", "items"),
        ([1], "items[0]"),
        ([user("x"), {"type": "message", "content": "x"}], "items[1].role"),
        ([{}], "items[0].type"),
        ([{"type": "message", "role": "user", "content": 1}], "items[0].content"),
        ([user("x", id="")], "items[0].id"),
        ([user("x", id=1)], "items[0].id"),
        ([user("x", id="a\0b")], "items[0].id"),
        ([user("x", id="x" * 201)], "items[0].id"),
        ([{"type": "item_reference"}], "items[0].id"),
        ([{"type": "item_reference", "id": "a\0b"}], "items[0].id"),
    ],
)
def test_bad_items_are_refused_by_their_place(http, items, param):
    conversation_id = made(http)
    for path in ("/v1/conversations", f"/v1/conversations/{conversation_id}/items"):
        answer = http.post(path, json={"items": items})
        assert error_of(answer) == (400, "invalid_request", param)
    assert (Conversation.objects.count(), ConversationItem.objects.count()) == (1, 0)


@cases("body", [b"", b"{", b"[]", b"null", b'{"a": NaN}'])
def test_a_body_must_be_an_object(http, body):
    conversation_id = made(http)
    for path in (
        f"/v1/conversations/{conversation_id}",
        f"/v1/conversations/{conversation_id}/items",
    ):
        assert http.post(path, content=body).status_code == 400


@cases(("path", "param"), [("", "metadata"), ("/items", "items")])
def test_what_is_required_is_named(http, path, param):
    answer = http.post(f"/v1/conversations/{made(http)}{path}", json={})
    assert error_of(answer) == (400, "invalid_request", param)


def test_a_body_beyond_the_limit_is_refused(http, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    answer = http.post("/v1/conversations", json={"items": [user("x" * 1000)]})
    assert error_of(answer) == (413, "request_too_large", None)


# Items


@pytest.mark.persistence
def test_items_are_added_read_and_deleted(http):
    conversation_id = made(http, user("first"))
    path = f"/v1/conversations/{conversation_id}"
    added = http.post(f"{path}/items", json={"items": [CALL, RESULT]}).json()
    assert (added["object"], added["has_more"]) == ("list", False)
    assert [added["first_id"], added["last_id"]] == [item["id"] for item in added["data"]]
    assert [item["type"] for item in listed(http, conversation_id)] == [
        "message",
        "function_call",
        "function_call_output",
    ]
    assert listed(http, conversation_id)[1:] == added["data"]
    item = added["data"][0]
    assert http.get(f"{path}/items/{item['id']}").json() == item
    assert http.delete(f"{path}/items/{item['id']}").json() == http.get(path).json()
    assert http.get(f"{path}/items/{item['id']}").status_code == 404
    assert len(listed(http, conversation_id)) == 2


def test_items_get_ids_types_parts_and_a_status(http):
    conversation_id = made(http, {"role": "user", "content": "Hi"}, assistant("Hello"), CALL)
    asked, answered, called = listed(http, conversation_id)
    assert asked == {
        "id": asked["id"],
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_text", "text": "Hi"}],
    }
    assert (answered["status"], called["status"]) == ("completed", "completed")
    assert (answered["id"][:4], called["id"][:3]) == ("msg_", "fc_")
    document = reference.json_of("schemas/openai-openapi-2026-08-21-subset.json")
    validator = Draft202012Validator(
        {"$ref": "#/components/schemas/Message", "components": document["components"]}
    )
    assert reference.explain(validator, asked) == []
    assert reference.explain(validator, answered) == []


@pytest.mark.persistence
def test_a_given_id_is_kept_unless_the_conversation_has_it(http):
    first = made(http, user("one", id="msg_mine"), user("two", id="msg_mine"))
    http.post(f"/v1/conversations/{first}/items", json={"items": [user("three", id="msg_mine")]})
    found = [item["id"] for item in listed(http, first)]
    assert found[0] == "msg_mine"
    assert len(set(found)) == 3
    second = made(http, user("four", id="msg_mine"))
    assert listed(http, second)[0]["id"] == "msg_mine"


def test_what_we_do_not_know_of_an_item_survives(http):
    item = {"type": "acme:trace", "id": "tr_1", "deep": {"a": [1, None]}, "status": "failed"}
    assert listed(http, made(http, item)) == [item]


@pytest.mark.persistence
def test_references_are_resolved_to_the_tenants_stored_items(http, acme):
    thought = {"type": "reasoning", "summary": [], "encrypted_content": "sealed"}
    whole = stored.response(
        acme, user("Hi"), output=[thought, assistant("Hello")], provider="openai"
    )
    sources = [{"type": "item_reference", "id": item["id"]} for item in whole["output"]]
    conversation_id = made(http, *sources, {"id": whole["output"][1]["id"]})
    *kept, again = listed(http, conversation_id)
    assert kept == whole["output"]
    assert again == {**whole["output"][1], "id": again["id"]}
    providers = ConversationItem.objects.order_by("position").values_list("provider", flat=True)
    assert list(providers) == ["openai"] * 3
    copy = made(http, {"type": "item_reference", "id": again["id"]})
    assert listed(http, copy) == [again]


def test_unknown_and_foreign_references_are_one_answer(http, bob):
    stored.response(bob, user("canary", id="msg_bob"), output=[assistant("canary", id="msg_bobs")])
    conversations.create(bob.tenant.pk, [user("canary", id="msg_bobs_own")], {})
    answers = set()
    for item_id in ("msg_unknown", "msg_bob", "msg_bobs", "msg_bobs_own"):
        body = {"items": [user("x"), {"type": "item_reference", "id": item_id}]}
        answer = http.post("/v1/conversations", json=body)
        assert error_of(answer) == (400, "invalid_request", "items[1].id")
        answers.add(answer.content)
    assert len(answers) == 1
    assert Conversation.objects.filter(tenant__slug="acme").count() == 0


@pytest.mark.persistence
@cases("order", ["asc", "desc", None])
def test_pages_of_items_follow_each_other(http, order):
    conversation_id = made(http, *[user(str(n), id=f"msg_{n}") for n in range(7)])
    query = {"limit": "3"} | ({"order": order} if order else {})
    path = f"/v1/conversations/{conversation_id}/items"
    seen = []
    page = http.get(path, params=query).json()
    seen += page["data"]
    while page["has_more"]:
        page = http.get(path, params={**query, "after": page["last_id"]}).json()
        seen += page["data"]
    expected = [f"msg_{n}" for n in range(7)]
    assert [item["id"] for item in seen] == (expected if order == "asc" else expected[::-1])


@cases(
    ("name", "value"),
    [("limit", "0"), ("limit", "101"), ("order", "up"), ("after", "msg_no"), ("include[]", "all")],
)
def test_a_bad_query_is_refused_by_name(http, name, value):
    path = f"/v1/conversations/{made(http)}/items"
    answer = http.get(path, params={name: value})
    assert error_of(answer) == (400, "invalid_request", name.removesuffix("[]"))


# Absence


@pytest.mark.persistence
@cases(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("POST", "", {"metadata": {}}),
        ("DELETE", "", None),
        ("GET", "/items", None),
        ("POST", "/items", {"items": []}),
        ("POST", "/items", {"items": [user("x")]}),
        ("GET", "/items/msg_1", None),
        ("DELETE", "/items/msg_1", None),
    ],
)
def test_unknown_foreign_deleted_and_malformed_ids_are_one_answer(http, as_bob, method, path, body):
    foreign, deleted = made(http, user("canary", id="msg_1")), made(http)
    http.delete(f"/v1/conversations/{deleted}")
    answers = set()
    for no_id in (foreign, deleted, *sampled(NO_IDS, default=3, ci=5)):
        answer = as_bob.request(method, f"/v1/conversations/{no_id}{path}", json=body)
        if "/" in no_id and answer.status_code == 405:  # a path without a route of its own
            continue
        assert error_of(answer) == (404, "not_found", None), no_id
        answers.add(answer.content)
    assert len(answers) == 1
    assert len(listed(http, foreign)) == 1


@cases("method", ["GET", "DELETE"])
def test_unknown_foreign_deleted_and_malformed_items_are_one_answer(http, bob, method):
    conversations.create(bob.tenant.pk, [user("canary", id="msg_bob")], {})
    other = made(http, user("elsewhere", id="msg_elsewhere"))
    conversation_id = made(http, user("here", id="msg_here"))
    path = f"/v1/conversations/{conversation_id}/items"
    http.delete(f"{path}/msg_here")
    answers = set()
    for no_id in ("msg_here", "msg_bob", "msg_elsewhere", *NO_ITEMS):
        answer = http.request(method, f"{path}/{no_id}")
        assert error_of(answer) == (404, "not_found", None), no_id
        answers.add(answer.content)
    assert len(answers) == 1
    assert len(listed(http, other)) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "scopes"),
    [
        ("POST", "", {}, ["generate", "models", "read"]),
        ("GET", "/{id}", None, ["generate", "models", "store"]),
        ("POST", "/{id}", {"metadata": {}}, ["generate", "models", "read"]),
        ("DELETE", "/{id}", None, ["generate", "models", "read"]),
        ("GET", "/{id}/items", None, ["generate", "models", "store"]),
        ("POST", "/{id}/items", {"items": []}, ["generate", "models", "read"]),
        ("GET", "/{id}/items/msg_1", None, ["generate", "models", "store"]),
        ("DELETE", "/{id}/items/msg_1", None, ["generate", "models", "read"]),
    ],
)
def test_a_key_without_the_scope_is_refused(http, acme, method, path, body, scopes):
    conversation_id = made(http, user("x", id="msg_1"))
    ApiKey.objects.filter(pk=acme.key.pk).update(scopes=scopes)
    path = "/v1/conversations" + path.format(id=conversation_id)
    answer = http.request(method, path, json=body)
    assert error_of(answer) == (403, "insufficient_scope", None)
    assert positions(conversation_id) == [0]


# Appending


@pytest.mark.persistence
def test_items_are_appended_with_their_makers(acme):
    conversation_id = conversations.create(acme.tenant.pk, [user("first")], {})["id"]
    entries = [Entry(user("Hi")), Entry(assistant("Hello"), Maker("openai"))]
    kept = conversations.append_entries(acme.tenant.pk, conversation_id, entries)
    kept += conversations.append(
        acme.tenant.pk, conversation_id, [assistant("More")], Maker("anthropic")
    )
    found = ConversationItem.objects.order_by("position")[1:]
    assert [(row.position, row.provider) for row in found] == [
        (1, ""),
        (2, "openai"),
        (3, "anthropic"),
    ]
    assert [orjson.loads(bytes(row.body)) for row in found] == kept
    assert [row.item_id for row in found] == [item["id"] for item in kept]


@pytest.mark.persistence
def test_nothing_is_appended_to_what_is_not_there(acme, bob):
    theirs = conversations.create(bob.tenant.pk, [], {})["id"]
    for conversation_id in (theirs, "conv_nothing", "\0"):
        with pytest.raises(NotFound):
            conversations.append(acme.tenant.pk, conversation_id, [user("x")], NOBODY)
    assert ConversationItem.objects.count() == 0


@pytest.mark.persistence
def test_a_failed_append_leaves_the_conversation_as_it_was(acme):
    conversation_id = conversations.create(acme.tenant.pk, [user("first")], {})["id"]
    with pytest.raises(TypeError):
        conversations.append(acme.tenant.pk, conversation_id, [user("x", odd=object())], NOBODY)
    assert Conversation.objects.get().next_position == 1
    assert positions(conversation_id) == [0]


@pytest.mark.persistence
def test_many_writers_neither_interleave_nor_lose_items(acme):
    """Each append stands together, in order, and the positions have no gap."""
    conversation_id = conversations.create(acme.tenant.pk, [], {})["id"]
    writers, turns, size = 8, 5, 3
    together = threading.Barrier(writers)

    def write(writer: int) -> None:
        together.wait()
        with closing(connection):
            for turn in range(turns):
                items = [user(f"{writer} {turn} {n}", id=f"msg_{n}") for n in range(size)]
                conversations.append(acme.tenant.pk, conversation_id, items, NOBODY)

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(write, range(writers)))
    assert positions(conversation_id) == list(range(writers * turns * size))
    rows = ConversationItem.objects.order_by("position")
    said = [orjson.loads(bytes(row.body))["content"][0]["text"] for row in rows]
    groups = [said[at : at + size] for at in range(0, len(said), size)]
    assert all(len({text.rpartition(" ")[0] for text in group}) == 1 for group in groups)
    assert all([text[-1] for text in group] == ["0", "1", "2"] for group in groups)
    assert len({row.item_id for row in rows}) == len(said)
    assert len({group[0] for group in groups}) == writers * turns


@pytest.mark.persistence
def test_an_append_that_meets_a_deletion_leaves_nothing_behind(acme):
    conversation_id = conversations.create(acme.tenant.pk, [], {})["id"]
    begun = threading.Event()

    def write() -> int:
        appended = 0
        with closing(connection):
            while True:
                try:
                    conversations.append(acme.tenant.pk, conversation_id, [user("x")], NOBODY)
                except NotFound:
                    return appended
                appended += 1
                begun.set()

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write) for _ in range(2)]
        begun.wait(GIVE_UP_SECONDS)
        conversations.delete(acme.tenant.pk, conversation_id)
        assert sum(writer.result() for writer in writers) >= 1
    assert ConversationItem.objects.count() == 0


@pytest.mark.persistence
def test_reading_takes_two_queries_whatever_the_length(acme, django_assert_num_queries: Any):
    for count in (1, 100):
        items = [user(str(n), id=f"msg_{n}") for n in range(count)]
        conversation_id = conversations.create(acme.tenant.pk, items, {})["id"]
        with django_assert_num_queries(2):
            paging = Paging("msg_0", 100, ascending=True)
            page = orjson.loads(
                conversations.items(acme.tenant.pk, conversation_id, paging).whole()
            )
        assert len(page["data"]) == count - 1
