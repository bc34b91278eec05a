"""Stored chat completions: listed, read, changed, deleted, with their messages."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest
from jsonschema import Draft202012Validator

from gateway_project.lib import clock
from responses_api.models import StoredCompletion
from responses_api.storage import completions
from responses_api.storage.query import Paging
from tenants.models import ApiKey
from tests.plugins.cases import cases
from tests.plugins.tiers import sampled
from tests.support import reference, stored
from tests.support.client import error_of

PREFIXES = ("/v1", "/openai/v1")
LIST = "/v1/chat/completions"
NO_IDS = (
    "chatcmpl-" + "0" * 32,
    "nothing",
    "resp_1",
    "chatcmpl-%00",
    "chatcmpl-" + "x" * 5000,
    "chatcmpl-a%2Fb",
    "a/b/c",
    "%ff",
)


@pytest.fixture
def http(http_from_root: httpx.Client) -> httpx.Client:
    return http_from_root


def listed(http: httpx.Client, **query: Any) -> list[str]:
    answer = http.get(LIST, params=query)
    assert answer.status_code == 200, answer.text
    return [completion["id"] for completion in answer.json()["data"]]


# One completion


@pytest.mark.persistence
@cases("prefix", PREFIXES)
def test_a_completion_is_read_changed_and_deleted(http, acme, prefix):
    whole = stored.completion(acme, metadata={"topic": "Größe"})
    path = f"{prefix}/chat/completions/{whole['id']}"
    assert http.get(path).json() == whole
    changed = {**whole, "metadata": {"a": "1"}}
    assert http.post(path, json={"metadata": {"a": "1"}}).json() == changed
    assert http.get(path).json() == changed
    assert http.post(path, json={"metadata": None}).json() == {**whole, "metadata": {}}
    gone = http.delete(path)
    assert gone.json() == {
        "object": "chat.completion.deleted",
        "id": whole["id"],
        "deleted": True,
    }
    assert http.get(path).status_code == 404
    assert StoredCompletion.objects.count() == 0


def test_a_completion_has_the_shape_the_sdk_knows(http, acme):
    whole = stored.completion(acme)
    schema = reference.json_of("schemas/openai-sdk-3.52.0-chat_completion.schema.json")
    found = http.get(f"{LIST}/{whole['id']}").json()
    assert reference.explain(Draft202012Validator(schema), found) == []


def test_what_is_kept_holds_no_metadata(acme):
    assert orjson.loads(completions.stored_body({"id": "x", "metadata": {"a": "1"}})) == {"id": "x"}


@cases("metadata", [{"k": "v" * 513}, {"k" * 65: "v"}, {"k": "\0"}, [], 1])
def test_metadata_has_limits(http, acme, metadata):
    whole = stored.completion(acme, metadata={"a": "1"})
    answer = http.post(f"{LIST}/{whole['id']}", json={"metadata": metadata})
    assert error_of(answer)[:2] == (400, "invalid_request")
    assert error_of(answer)[2] in {"metadata", "metadata[...]"}
    assert http.get(f"{LIST}/{whole['id']}").json() == whole


# The list


@pytest.mark.persistence
def test_completions_are_listed_oldest_first(http, acme):
    made = [stored.completion(acme, seconds=n) for n in (2, 0, 1)]
    page = http.get(LIST).json()
    assert page == {
        "object": "list",
        "data": [made[1], made[2], made[0]],
        "first_id": made[1]["id"],
        "last_id": made[0]["id"],
        "has_more": False,
    }
    assert listed(http, order="desc") == [made[0]["id"], made[2]["id"], made[1]["id"]]


@pytest.mark.persistence
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_follow_each_other_also_within_one_instant(http, acme, order):
    for _ in range(7):
        stored.completion(acme)
    StoredCompletion.objects.update(created_at=clock.now())
    seen = []
    page = http.get(LIST, params={"limit": 3, "order": order}).json()
    seen += page["data"]
    while page["has_more"]:
        query = {"limit": 3, "order": order, "after": page["last_id"]}
        page = http.get(LIST, params=query).json()
        seen += page["data"]
    found = [completion["id"] for completion in seen]
    assert found == sorted(found, reverse=order == "desc")
    assert len(set(found)) == 7


@pytest.mark.persistence
def test_the_list_is_narrowed_by_model_and_by_metadata(http, acme):
    one = stored.completion(acme, model="one", metadata={"team": "a", "run": "1"})["id"]
    two = stored.completion(acme, model="two", metadata={"team": "a", "run": "2"}, seconds=1)["id"]
    stored.completion(acme, model="two", seconds=2)
    assert listed(http, model="one") == [one]
    assert listed(http, model="tw") == []
    assert listed(http, **{"metadata[team]": "a"}) == [one, two]
    assert listed(http, **{"metadata[team]": "a", "metadata[run]": "2"}) == [two]
    assert listed(http, **{"metadata[team]": "a"}, model="two", limit=1) == [two]


@pytest.mark.persistence
@cases(
    "key",
    ["0", "a__contains", "a.b", 'a"b', "a'b", "$", "[0]", "ü", "a]b", "team", "%s", "{}", "\\"],
)
def test_a_metadata_key_may_be_any_text(http, acme, key):
    right = stored.completion(acme, metadata={key: "%s"})["id"]
    stored.completion(acme, metadata={key: "other"})
    assert listed(http, **{f"metadata[{key}]": "%s"}) == [right]


@cases(
    ("query", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"order": "up"}, "order"),
        ({"after": "chatcmpl-no"}, "after"),
        ({"after": "\0"}, "after"),
        ({"metadata[k]": "\0"}, "metadata"),
        ({"metadata[]": "v"}, "metadata"),
        ({"metadata[k]": "v" * 513}, "metadata[...]"),
        ({f"metadata[{n}]": "v" for n in range(17)}, "metadata"),
    ],
)
def test_a_bad_query_is_refused_by_name(http, acme, query, param):
    stored.completion(acme)
    assert error_of(http.get(LIST, params=query)) == (400, "invalid_request", param)


@pytest.mark.persistence
def test_a_model_may_be_any_text(http, acme):
    stored.completion(acme)
    for model in ("\0", "x" * 5000, "' OR 1=1 --", ""):
        assert listed(http, model=model) == []


def test_a_query_of_too_many_fields_is_the_clients_mistake(http):
    answer = http.get(LIST + "?" + "&".join(f"a{n}=1" for n in range(1100)))
    assert error_of(answer) == (400, "invalid_request", None)


@pytest.mark.persistence
def test_another_tenants_completions_are_not_in_the_list_and_no_cursors(http, as_bob, acme):
    foreign = stored.completion(acme, answer="canary", metadata={"team": "a"})["id"]
    page = as_bob.get(LIST, params={"metadata[team]": "a"})
    assert page.json()["data"] == []
    assert "canary" not in page.text
    cursors = (foreign, "chatcmpl-no", "\0", "x" * 300)
    assert len({as_bob.get(LIST, params={"after": after}).content for after in cursors}) == 1


@cases("method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
@cases("path", ["/v1/chat/completions", "/openai/v1/chat/completions"])
def test_the_path_with_two_servers_names_the_methods_of_both(http, method, path):
    answer = http.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"


# Messages


@pytest.mark.persistence
def test_the_messages_a_completion_answered_are_listed(http, acme):
    parts = [{"type": "text", "text": "Hi"}]
    asked: list[dict[str, Any]] = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": parts, "name": "Ada"},
    ]
    whole = stored.completion(acme, *asked)
    page = http.get(f"{LIST}/{whole['id']}/messages").json()
    first, second = f"{whole['id']}-0", f"{whole['id']}-1"
    assert page == {
        "object": "list",
        "data": [
            {"role": "developer", "content": "Be kind.", "id": first, "content_parts": None},
            {"role": "user", "content": None, "name": "Ada", "id": second, "content_parts": parts},
        ],
        "first_id": first,
        "last_id": second,
        "has_more": False,
    }


@pytest.mark.persistence
@cases("order", ["asc", "desc"])
def test_pages_of_messages_follow_each_other(http, acme, order):
    whole = stored.completion(acme, *[{"role": "user", "content": str(n)} for n in range(5)])
    path = f"{LIST}/{whole['id']}/messages"
    seen = []
    page = http.get(path, params={"limit": 2, "order": order}).json()
    seen += page["data"]
    while page["has_more"]:
        query = {"limit": 2, "order": order, "after": page["last_id"]}
        page = http.get(path, params=query).json()
        seen += page["data"]
    texts = [message["content"] for message in seen]
    assert texts == (list("01234") if order == "asc" else list("43210"))


def test_a_cursor_that_is_no_message_of_it_is_refused(http, acme):
    whole, other = stored.completion(acme), stored.completion(acme)
    path = f"{LIST}/{whole['id']}/messages"
    for after in (f"{other['id']}-0", f"{whole['id']}-1", f"{whole['id']}-00", whole["id"], "\0"):
        answer = http.get(path, params={"after": after})
        assert error_of(answer) == (400, "invalid_request", "after")


# Absence


@pytest.mark.persistence
@cases(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("POST", "", {"metadata": {}}),
        ("DELETE", "", None),
        ("GET", "/messages", None),
    ],
)
def test_unknown_foreign_deleted_and_malformed_ids_are_one_answer(
    http, as_bob, acme, method, path, body
):
    foreign, deleted = (stored.completion(acme, answer="canary")["id"] for _ in range(2))
    http.delete(f"{LIST}/{deleted}")
    answers = set()
    for no_id in (foreign, deleted, *sampled(NO_IDS, default=3, ci=5)):
        answer = as_bob.request(method, f"{LIST}/{no_id}{path}", json=body)
        assert error_of(answer) == (404, "not_found", None), no_id
        answers.add(answer.content)
    assert len(answers) == 1
    assert StoredCompletion.objects.filter(pk=foreign, metadata={}).count() == 1


@pytest.mark.parametrize(
    ("method", "path", "scopes"),
    [
        ("GET", "", ["generate", "models", "store"]),
        ("GET", "/{id}", ["generate", "models", "store"]),
        ("GET", "/{id}/messages", ["generate", "models", "store"]),
        ("POST", "/{id}", ["generate", "models", "read"]),
        ("DELETE", "/{id}", ["generate", "models", "read"]),
    ],
)
def test_a_key_without_the_scope_is_refused(http, acme, method, path, scopes):
    whole = stored.completion(acme)
    ApiKey.objects.filter(pk=acme.key.pk).update(scopes=scopes)
    answer = http.request(method, LIST + path.format(id=whole["id"]), json={"metadata": {}})
    assert error_of(answer) == (403, "insufficient_scope", None)
    assert StoredCompletion.objects.count() == 1


@pytest.mark.persistence
def test_a_list_takes_two_queries_whatever_its_length(acme, django_assert_num_queries: Any):
    first = stored.completion(acme)["id"]
    for count in (1, 30):
        for n in range(count):
            stored.completion(acme, seconds=n + 1, metadata={"team": "a"})
        with django_assert_num_queries(2):
            paging = Paging(first, 100, ascending=True)
            completions.page(acme.tenant.pk, paging, "sandbox-chat", {"team": "a"})
        with django_assert_num_queries(1):
            completions.page(acme.tenant.pk, Paging("", 100, ascending=False), None, {})
        with django_assert_num_queries(1):
            completions.messages(acme.tenant.pk, first, Paging("", 100, ascending=True))
