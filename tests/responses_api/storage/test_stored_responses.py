"""GET and DELETE /responses/{id}, its input items, and cancelling it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from django.db import OperationalError

from responses_api.models import EventChunk, Run, StoredItem, StoredResponse
from responses_api.storage import reading
from responses_api.storage.query import INCLUDABLE, Paging
from tenants.models import ApiKey
from tests.plugins.cases import cases
from tests.plugins.tiers import sampled
from tests.support import reference, rows, stored
from tests.support.client import error_of
from tests.support.stored import assistant, user

PREFIXES = ("/v1", "/openai/v1")
NO_IDS = (
    "resp_" + "0" * 48,
    "resp_1",
    "nothing",
    "chatcmpl-1",
    "resp_%00",
    "%00",
    "resp_" + "x" * 5000,
    "resp_a%2Fb",
    "resp_a/b/c",
    "%ff",
    "' OR 1=1 --",
    "..%2f..",
)


@pytest.fixture
def http(http_from_root: httpx.Client) -> httpx.Client:
    return http_from_root


def rows_of(response_id: str) -> list[int]:
    return [
        StoredResponse.objects.filter(pk=response_id).count(),
        StoredItem.objects.filter(response_id=response_id).count(),
        Run.objects.filter(response_id=response_id).count(),
        EventChunk.objects.filter(run_id=response_id).count(),
    ]


def ids_of(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["data"]]


# Retrieve


@pytest.mark.persistence
@cases("prefix", PREFIXES)
def test_a_stored_response_comes_back_as_it_was(http, acme, prefix):
    whole = stored.response(acme, user("Hi"), output=[assistant("Größe"), assistant("two")])
    answer = http.get(f"{prefix}/responses/{whole['id']}")
    assert answer.json() == whole
    assert answer.headers["content-type"] == "application/json"
    assert not {"etag", "last-modified", "cache-control"} & set(answer.headers)
    assert reference.explain(reference.response_validator(), answer.json()) == []


def test_a_response_without_output_has_an_empty_list(http, acme):
    whole = stored.response(acme, status="failed")
    assert http.get(f"/v1/responses/{whole['id']}").json()["output"] == []


@cases("status", ["queued", "in_progress", "cancelled", "completed"])
def test_the_status_is_that_of_the_run(http, acme, status):
    whole = stored.response(acme, user("Hi"), status="in_progress", background=True)
    stored.run(acme, whole["id"], status)
    assert http.get(f"/v1/responses/{whole['id']}").json() == {**whole, "status": status}


def test_everything_that_may_be_included_is_accepted_and_nothing_is_hidden(http, acme):
    secret = {"type": "reasoning", "summary": [], "encrypted_content": "sealed"}
    whole = stored.response(acme, output=[secret])
    query = {"include[]": sorted(INCLUDABLE), "stream": "false"}
    assert http.get(f"/v1/responses/{whole['id']}", params=query).json() == whole
    assert http.get(f"/v1/responses/{whole['id']}").json() == whole
    assert whole["output"][0]["encrypted_content"] == "sealed"


@cases("name", ["include", "include[]"])
@cases("path", ["", "/input_items"])
def test_an_unknown_include_is_refused_by_name(http, acme, name, path):
    whole = stored.response(acme)
    query = {name: ["reasoning.encrypted_content", "everything"]}
    answer = http.get(f"/v1/responses/{whole['id']}{path}", params=query)
    assert error_of(answer) == (400, "invalid_request", "include")
    assert "'everything'" in answer.json()["error"]["message"]


# Absence


@pytest.mark.persistence
@cases(
    ("method", "path"),
    [("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")],
)
def test_unknown_foreign_deleted_and_malformed_ids_are_one_answer(http, as_bob, acme, method, path):
    foreign, deleted = (stored.response(acme, user("canary"))["id"] for _ in range(2))
    assert http.delete(f"/v1/responses/{deleted}").status_code == 200
    answers = {as_bob.request(method, f"/v1/responses/{foreign}{path}").content}
    for client in (http, as_bob):
        for no_id in (deleted, *sampled(NO_IDS, default=3, ci=5)):
            answer = client.request(method, f"/v1/responses/{no_id}{path}")
            assert error_of(answer) == (404, "not_found", None), no_id
            answers.add(answer.content)
    assert len(answers) == 1
    assert rows_of(foreign) == [1, 1, 0, 0]


@cases(
    ("method", "path", "scopes"),
    [
        ("GET", "", ["generate", "models", "store"]),
        ("GET", "/input_items", ["generate", "models", "store"]),
        ("DELETE", "", ["generate", "models", "read"]),
        ("POST", "/cancel", ["models", "read", "store"]),
    ],
)
def test_a_key_without_the_scope_is_refused(http, acme, method, path, scopes):
    whole = stored.response(acme)
    ApiKey.objects.filter(pk=acme.key.pk).update(scopes=scopes)
    answer = http.request(method, f"/v1/responses/{whole['id']}{path}")
    assert error_of(answer) == (403, "insufficient_scope", None)
    assert rows_of(whole["id"])[0] == 1


def test_without_a_key_nothing_is_told(gateway, acme):
    whole = stored.response(acme)
    answer = httpx.get(f"{gateway.base_url}/responses/{whole['id']}")
    assert error_of(answer) == (401, "invalid_api_key", None)


@cases("path", ["/v1/responses/resp_1", "/v1/responses/resp_1/input_items"])
def test_a_wrong_method_says_which_are_right(http, path):
    answer = http.put(path)
    assert error_of(answer) == (405, "method_not_allowed", None)
    assert "GET" in answer.headers["allow"].split(", ")
    assert "POST" not in answer.headers["allow"].split(", ")


def test_a_database_that_is_away_is_said_to_be(http, acme, monkeypatch):
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise OperationalError("the server closed the connection: secret-host")

    whole = stored.response(acme)
    monkeypatch.setattr(reading, "response", broken)
    answer = http.get(f"/v1/responses/{whole['id']}")
    assert error_of(answer) == (503, "service_unavailable", None)
    assert answer.headers["retry-after"] == "2"
    assert "secret-host" not in answer.text


# Delete


@pytest.mark.persistence
def test_deleting_erases_the_response_with_everything_that_belongs_to_it(http, acme):
    whole = stored.response(acme, user("Hi"), output=[assistant("Hello")], background=True)
    other = stored.response(acme, user("Hi"))
    stored.run(acme, whole["id"], "completed")
    assert rows_of(whole["id"]) == [1, 2, 1, 1]
    answer = http.delete(f"/v1/responses/{whole['id']}")
    assert answer.json() == {"id": whole["id"], "object": "response", "deleted": True}
    assert rows_of(whole["id"]) == [0, 0, 0, 0]
    assert rows_of(other["id"]) == [1, 1, 0, 0]
    assert http.delete(f"/v1/responses/{whole['id']}").status_code == 404


@pytest.mark.persistence
@cases("status", ["queued", "in_progress"])
def test_what_is_still_being_made_cannot_be_deleted(http, acme, status):
    whole = stored.response(acme, user("Hi"), status="queued", background=True)
    stored.run(acme, whole["id"], status)
    answer = http.delete(f"/v1/responses/{whole['id']}")
    assert error_of(answer) == (400, "invalid_request", None)
    assert "cancel it first" in answer.json()["error"]["message"]
    assert rows_of(whole["id"]) == [1, 1, 1, 1]


# Input items


def given_items(acme, count: int) -> tuple[str, list[str]]:
    whole = stored.response(
        acme, *[user(f"{n}", id=f"msg_{n}") for n in range(count)], output=[assistant("no input")]
    )
    return whole["id"], [f"msg_{n}" for n in range(count)]


@pytest.mark.persistence
def test_input_items_are_listed_newest_first_with_ids_and_status(http, acme):
    call = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
    whole = stored.response(acme, {"role": "user", "content": "Weather?"}, call, result)
    page = http.get(f"/v1/responses/{whole['id']}/input_items").json()
    output, called, asked = page["data"]
    assert asked["content"] == [{"type": "input_text", "text": "Weather?"}]
    assert [item["type"] for item in page["data"]] == [
        "function_call_output",
        "function_call",
        "message",
    ]
    assert [item["status"] for item in page["data"]] == ["completed"] * 3
    assert (asked["id"][:4], called["id"][:3], output["id"][:4]) == ("msg_", "fc_", "fco_")
    assert (page["object"], page["has_more"]) == ("list", False)
    assert (page["first_id"], page["last_id"]) == (output["id"], asked["id"])


@pytest.mark.persistence
@cases("order", ["asc", "desc"])
def test_pages_follow_each_other_without_gap_or_overlap(http, acme, order):
    response_id, expected = given_items(acme, 7)
    seen: list[str] = []
    query = {"limit": 3, "order": order}
    page = http.get(f"/v1/responses/{response_id}/input_items", params=query).json()
    seen += [item["id"] for item in page["data"]]
    while page["has_more"]:
        after = {"after": page["last_id"], **query}
        page = http.get(f"/v1/responses/{response_id}/input_items", params=after).json()
        assert page["first_id"] == page["data"][0]["id"]
        seen += [item["id"] for item in page["data"]]
    assert seen == (expected if order == "asc" else expected[::-1])
    assert len(page["data"]) == 1


def test_an_empty_list_has_no_ids(http, acme):
    whole = stored.response(acme)
    page = http.get(f"/v1/responses/{whole['id']}/input_items").json()
    assert page == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


def test_the_limit_is_20_unless_asked_otherwise(http, acme):
    response_id, _ = given_items(acme, 101)
    path = f"/v1/responses/{response_id}/input_items"
    assert len(ids_of(http.get(path))) == 20
    assert len(ids_of(http.get(path, params={"limit": "1"}))) == 1
    assert len(ids_of(http.get(path, params={"limit": "100"}))) == 100


@cases(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "-1"),
        ("limit", "ten"),
        ("limit", "1.5"),
        ("limit", ""),
        ("limit", "٣"),
        ("limit", "9" * 5000),
        ("order", "up"),
        ("order", ""),
        ("order", "ASC"),
        ("after", "msg_nothing"),
        ("after", "\0"),
        ("after", "x" * 5000),
    ],
)
def test_bad_paging_is_refused_by_name(http, acme, name, value):
    response_id, _ = given_items(acme, 2)
    answer = http.get(f"/v1/responses/{response_id}/input_items", params={name: value})
    assert error_of(answer) == (400, "invalid_request", name)
    assert len(answer.content) < 500


@pytest.mark.persistence
def test_a_foreign_an_output_and_an_unknown_cursor_are_one_answer(http, acme):
    bob = rows.customer("carol")
    foreign = stored.response(bob, user("canary", id="msg_bob"))
    whole = stored.response(acme, user("Hi"), output=[assistant("x", id="msg_out")])
    path = f"/v1/responses/{whole['id']}/input_items"
    cursors = ("msg_bob", "msg_out", "msg_unknown", foreign["id"], "\0", "x" * 300)
    assert len({http.get(path, params={"after": cursor}).content for cursor in cursors}) == 1


@pytest.mark.persistence
def test_reading_takes_two_queries_whatever_the_length(
    acme, django_assert_num_queries: Any, transactional_db: None
):
    for count in (1, 100):
        response_id, _ = given_items(acme, count)
        with django_assert_num_queries(2):
            reading.response(acme.tenant.pk, response_id)
        with django_assert_num_queries(2):
            reading.input_items(acme.tenant.pk, response_id, Paging("msg_0", 100, ascending=True))


# Cancel


@cases("status", ["completed", "failed", "incomplete", "cancelled"])
def test_cancelling_what_has_ended_answers_the_final_response(http, acme, status):
    whole = stored.response(acme, user("Hi"), output=[assistant("x")], background=True)
    stored.run(acme, whole["id"], status)
    for _ in range(2):
        answer = http.post(f"/v1/responses/{whole['id']}/cancel")
        assert (answer.status_code, answer.json()) == (200, {**whole, "status": status})


def test_a_background_response_whose_run_is_gone_has_ended(http, acme):
    whole = stored.response(acme, background=True)
    assert http.post(f"/v1/responses/{whole['id']}/cancel").json() == whole


def test_only_background_responses_can_be_cancelled(http, acme):
    whole = stored.response(acme)
    answer = http.post(f"/v1/responses/{whole['id']}/cancel")
    assert error_of(answer) == (400, "invalid_request", None)
    assert "Only background responses can be cancelled" in answer.json()["error"]["message"]


# Referenced items


@pytest.mark.persistence
def test_an_item_is_found_wherever_the_tenant_stored_it_and_with_its_maker(acme, transactional_db):
    bob = rows.customer("bob")
    first = stored.response(acme, output=[assistant("x", id="msg_1")], provider="openai")
    stored.response(acme, first["output"][0], user("old", id="msg_2"), provider="anthropic")
    stored.response(acme, user("new", id="msg_2"), provider="anthropic")
    stored.response(bob, user("canary", id="msg_bob"))
    found = reading.find_items(acme.tenant.pk, ["msg_1", "msg_2", "msg_bob", "msg_no", "\0"])
    assert {name: item.maker.provider for name, item in found.items()} == {
        "msg_1": "openai",
        "msg_2": "",
    }
    assert b"new" in found["msg_2"].body
