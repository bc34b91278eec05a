"""A request with the bytes of one that was answered from memory is not read anew, and nobody can tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest
from django.db import connection
from msgspec import structs

from gateway_project.lib import clock
from responses_api.cache import memory, repeats, table
from responses_api.cache.answer_template import template_of
from responses_api.cache.table import AnswerPlace
from responses_api.doors.chat import request as chat_request
from responses_api.doors.responses import request
from responses_api.doors.responses.replay import REPLAY
from responses_api.doors.shapes import parse_object
from responses_api.stream.upstream_reader import Identity
from routing import cache_purge
from routing.models import Alias
from tenants.keys import keys
from tenants.models import RateLimit
from tests.responses_api.cache.conftest import Ask, cached
from tests.responses_api.cache.test_hits import SAID, TOOLS, ids_in, without_ids
from tests.support import ledger
from tests.support.guardrails import guardrail
from tests.support.live import LiveGateway
from tests.support.rows import Customer

Json = dict[str, Any]
each_door = pytest.mark.parametrize("door", ["chat", "responses"])


@pytest.fixture
def remembered(gateway: LiveGateway) -> repeats.Repeats:
    return gateway.worker.state.answer_cache.repeats


@pytest.fixture
def ask(ask: Ask, in_table: Callable[[], object]) -> Ask:
    """Ask, and wait until the answer is in the table, should the worker forget what it has at hand."""

    def asked(*given: Any, **fields: Any) -> httpx.Response:
        answer = ask(*given, **fields)
        in_table()
        return answer

    return asked


@pytest.fixture
def thrice(ask: Ask) -> Callable[..., list[httpx.Response]]:
    """Ask four times: a miss, a hit that is read, one that is known, and one whose answer is, too."""

    def asked(door: str, *given: Any, **fields: Any) -> list[httpx.Response]:
        answers = [ask(door, *given, **fields) for _ in range(4)]
        assert [cached(each) for each in answers] == ["miss", "hit", "hit", "hit"]
        return answers

    return asked


@each_door
@pytest.mark.parametrize("said", ["Hi", SAID, "[size=3000]"])
def test_each_answer_is_like_the_first_with_ids_of_its_own(thrice, door, said):
    tools: Json = {"tools": TOOLS[door]} if said == SAID else {}
    _, read, known, filled = (each.json() for each in thrice(door, said, store=False, **tools))

    assert without_ids(read) == without_ids(known) == without_ids(filled)
    assert list(read) == list(known) == list(filled)
    assert not ids_in(read) & ids_in(known)
    assert not ids_in(known) & ids_in(filled)
    assert len(ids_in(read)) == len(ids_in(known)) == len(ids_in(filled))
    created = "created" if door == "chat" else "created_at"
    assert read[created] <= known[created] <= filled[created]
    if door == "responses":
        assert filled["completed_at"] in (None, filled["created_at"])


def test_only_what_is_new_is_filled_in():
    text = '"id": "msg_1", "created_at": 1, %s \\ resp_'
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    item: Json = {"type": "message", "id": "msg_1", "status": "completed", "content": [part]}
    kept: Json = {
        "id": "",
        "created_at": 1,
        "completed_at": 1,
        "model": "",
        "output": [item, item | {"id": "x"}],
    }
    call = request.decode(orjson.dumps({"model": "m", "input": "Hi", "metadata": {"at": "1"}}))
    template = template_of(REPLAY, kept, call, Identity("resp_a", "m", 0))
    assert template is not None
    filled = orjson.loads(template.fill(Identity("resp_b", "m", 5)))

    own = REPLAY.new_ids(filled)
    assert own is not None
    assert [each.partition("_")[0] for each in own] == ["msg", "item"]
    expected = REPLAY.renewed(kept, call, Identity("resp_b", "m", 5))
    for made, new in zip(expected["output"], own, strict=True):
        made["id"] = new
    assert filled == expected


@each_door
def test_each_has_its_row_and_counts_for_the_limits(ask, gateway, kept, door):
    ledger.begin_here(gateway)
    RateLimit.objects.create(tenant=kept.tenant, metric="requests", amount=4, window="day")
    gateway.catch_up()
    answers = [ask(door, store=False) for _ in range(5)]

    left = [each.headers["x-ratelimit-remaining-requests"] for each in answers[:4]]
    assert left == ["3", "2", "1", "0"]
    assert answers[4].status_code == 429
    made, *hits = ledger.rows(gateway)
    assert [row.cache_outcome for row in hits] == ["hit"] * 3
    assert {row.tokens for row in hits} == {made.tokens}
    assert len({row.pk for row in hits}) == 3


@each_door
def test_headers_about_the_cache_still_count(ask, gateway, door):
    for _ in range(3):
        ask(door, store=False)
    headers = {"x-tollgate-cache": "refresh"}
    elsewhere = {"x-tollgate-cache-namespace": "elsewhere"}
    assert cached(ask(door, store=False, headers=headers)) == "refresh"
    assert cached(ask(door, store=False, headers=elsewhere)) == "miss"
    assert cached(ask(door, store=False, headers={"x-tollgate-cache": "off"})) == "off"
    assert ask(door, store=False, headers={"x-tollgate-cache": "never"}).status_code == 400
    again = [ask(door, store=False) for _ in range(3)]
    assert [cached(each) for each in again] == ["hit"] * 3
    assert len(gateway.sandbox.calls) == 4


def test_a_purge_ends_it(ask, gateway):
    for _ in range(3):
        ask("chat")
    cache_purge.purge(Alias.objects.get(name="sandbox-chat"))
    gateway.catch_up()
    assert [cached(ask("chat")) for _ in range(3)] == ["miss", "hit", "hit"]


def test_a_key_that_is_revoked_is_refused_at_once(ask, gateway, kept):
    for _ in range(3):
        ask("chat")
    keys.revoke(kept.key)
    gateway.catch_up()
    assert ask("chat").status_code == 401


@each_door
def test_a_model_is_asked_as_ever_once_the_answer_has_expired(
    thrice, ask, gateway, door, monkeypatch
):
    headers = {"x-tollgate-debug": "routing"}
    thrice(door, store=False, headers=headers)
    at = clock.timestamp()
    monkeypatch.setattr(clock, "timestamp", lambda: at + 601)
    anew = ask(door, store=False, headers=headers)

    assert cached(anew) == "miss"
    assert anew.headers["x-tollgate-attempts"] == "1"
    first, last = gateway.sandbox.calls
    assert first.body == last.body
    assert last.headers["x-request-id"] == anew.headers["x-request-id"]
    assert set(first.headers) == set(last.headers)


def test_with_an_idempotency_key_that_comes_first(ask):
    keyed = [ask("chat", headers={"idempotency-key": f"k{number // 2}"}) for number in range(8)]
    assert [cached(each) for each in keyed] == ["miss", "miss", *["hit"] * 6]
    for made, replayed in zip(keyed[::2], keyed[1::2], strict=True):
        assert made.content == replayed.content
    assert len({each.content for each in keyed}) == 4


def test_guardrails_look_at_each(thrice, ask, gateway):
    thrice("chat", "forbidden")
    guardrail("words")
    gateway.catch_up()
    assert ask("chat", "forbidden").status_code == 400


def test_no_other_key_is_known_by_it(ask, gateway, kept):
    key, secret = keys.create(kept.tenant, "another")
    other = Customer(kept.tenant, key, secret.reveal())
    for _ in range(3):
        ask("chat")
    assert [cached(ask("chat", by=other)) for _ in range(3)] == ["miss", "hit", "hit"]


def test_those_that_came_last_are_remembered(thrice, ask, remembered, monkeypatch):
    monkeypatch.setattr(remembered.kept, "max_bytes", 12 * 1024)
    for number in range(5):
        thrice("chat", f"Hi {number}")
        assert 0 < remembered.kept.size <= 12 * 1024
    assert 1 < len(remembered.kept) < 5
    read: list[bytes] = []

    def noting(body: bytes, *given: Any) -> Json:
        read.append(body)
        return parse_object(body, *given)

    monkeypatch.setattr(chat_request, "parse_object", noting)
    assert [cached(ask("chat", f"Hi {number}")) for number in (4, 3, 0)] == ["hit"] * 3
    assert len(read) == 1
    assert b"Hi 0" in read[0]


def test_a_long_request_is_read_each_time(thrice, remembered):
    thrice("chat", "x" * repeats.MAX_BODY_BYTES)
    assert len(remembered.kept) == 0


def test_an_answer_that_another_process_replaced_is_given(thrice, ask, in_table, monkeypatch):
    thrice("chat")
    (row,) = in_table()
    entry = table.find(row.tenant_id, row.key)
    assert entry is not None
    newer = structs.replace(entry, answer=entry.answer.replace(b"You said", b"You wrote"))
    assert newer != entry
    place = AnswerPlace(
        row.key, row.tenant_id, row.key_id, row.alias_id, row.generation, row.expires_at.timestamp()
    )
    with connection.cursor() as cursor:
        table.write_answers(cursor, [table.seal(place, newer)])

    monkeypatch.setattr(memory, "LOOK_AGAIN_SECONDS", -1)
    assert "You wrote" in ask("chat").json()["choices"][0]["message"]["content"]
