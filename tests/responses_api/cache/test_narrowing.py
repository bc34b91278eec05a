"""Nobody is given an answer of somebody else, and some requests have no part in the cache at all."""

from __future__ import annotations

from typing import Any

import pytest

from routing import cache_purge
from routing.models import Alias, Provider
from tenants.keys import keys
from tests.plugins.cases import cases
from tests.responses_api.cache.conftest import cached, keeps
from tests.support import rows
from tests.support.client import error_of
from tests.support.rows import Customer

Json = dict[str, Any]

LOOK: Json = {"name": "look", "parameters": {"type": "object", "properties": {}}}
SEE: Json = {**LOOK, "name": "see"}
each_door = pytest.mark.parametrize("door", ["chat", "responses"])
# Of each leak that happened elsewhere: what was left out of the key (docs/cache.md).
CHAT: Json = {
    "another system prompt": {
        "messages": [{"role": "system", "content": "Be rude."}, {"role": "user", "content": "Hi"}]
    },
    "another text": {"messages": [{"role": "user", "content": "Ho"}]},
    "tools": {"tools": [{"type": "function", "function": LOOK}]},
    "another tool_choice": {
        "tools": [{"type": "function", "function": LOOK}],
        "tool_choice": "none",
    },
    "seed": {"seed": 7},
    "a format": {"response_format": {"type": "json_object"}},
    "a limit": {"max_tokens": 50},
    "a number as another kind": {"top_p": 1.0},
    "the same number as an integer": {"top_p": 1},
    "a field nobody knows": {"x_vendor_depth": {"b": 1, "a": 2}},
    "another value of it": {"x_vendor_depth": {"b": 1, "a": 3}},
    "reasoning effort": {"reasoning_effort": "low"},
}
RESPONSES: Json = {
    "instructions": {"instructions": "Be rude."},
    "other instructions": {"instructions": "Be kind."},
    "another text": {"input": "Ho"},
    "tools": {"tools": [{"type": "function", **LOOK}]},
    "another tool": {"tools": [{"type": "function", **SEE}]},
    "another tool_choice": {"tools": [{"type": "function", **LOOK}], "tool_choice": "none"},
    "a format": {"text": {"format": {"type": "json_object"}}},
    "include": {"include": ["reasoning.encrypted_content"]},
    "reasoning effort": {"reasoning": {"effort": "low"}},
    "a limit": {"max_output_tokens": 50},
    "a field nobody knows": {"x_vendor_depth": 1},
}


def another_key(of: Customer) -> Customer:
    key, secret = keys.create(of.tenant, "another")
    return Customer(of.tenant, key, secret.reveal())


@each_door
def test_nothing_that_makes_a_difference_is_left_out_of_the_key(ask, gateway, door):
    asked = CHAT if door == "chat" else RESPONSES
    ask(door)
    for name, fields in asked.items():
        assert cached(ask(door, **fields)) == "miss", name
    assert cached(ask(door)) == "hit"
    assert len(gateway.sandbox.calls) == len(asked) + 1


@each_door
def test_what_makes_no_difference_makes_none(ask, gateway, door):
    ask(door)
    for fields in (
        {"metadata": {"run": "2"}},
        {"user": "someone"},
        {"safety_identifier": "someone"},
        {"prompt_cache_key": "k"},
        {"service_tier": "default"},
        {"store": False},
        {"client_metadata": {"session": "2"}},
    ):
        assert cached(ask(door, **fields)) == "hit", fields
    assert len(gateway.sandbox.calls) == 1


def test_the_two_doors_share_nothing(ask, gateway):
    ask("chat", model="sandbox-chat")
    assert cached(ask("responses", model="sandbox-chat")) == "miss"


def test_another_key_gets_no_answer_unless_the_alias_says_so(ask, gateway, kept):
    other = another_key(kept)
    ask("chat")
    assert cached(ask("chat", by=other)) == "miss"

    keeps("sandbox-chat", cache_scope="tenant")
    gateway.catch_up()
    ask("chat")
    assert cached(ask("chat", by=other)) == "hit"


@pytest.mark.parametrize("scope", ["key", "end_user", "tenant"])
def test_another_tenant_gets_no_answer_whatever_the_scope(ask, gateway, bob, in_table, scope):
    keeps("sandbox-chat", cache_scope=scope)
    gateway.catch_up()
    first, again = ask("chat", user="u"), ask("chat", user="u")
    for namespace in ({}, {"x-tollgate-cache-namespace": "shared"}):
        ask("chat", user="u", headers=namespace)
        assert cached(ask("chat", by=bob, user="u", headers=namespace)) == "miss"
        assert cached(ask("chat", by=bob, user="u", headers=namespace)) == "hit"

    assert (cached(first), cached(again)) == ("miss", "hit")
    assert len({row.tenant_id for row in in_table()}) == 2


def test_an_end_user_gets_only_answers_of_their_own_and_somebody_unnamed_none(ask, gateway):
    keeps("sandbox-chat", cache_scope="end_user")
    gateway.catch_up()
    ask("chat", user="ann")

    assert cached(ask("chat", user="ann")) == "hit"
    assert cached(ask("chat", user="ben")) == "miss"
    assert cached(ask("chat", safety_identifier="ann")) == "miss"
    unnamed = ask("chat")
    assert (cached(unnamed), unnamed.headers["x-tollgate-cache-reason"]) == ("off", "end_user")


def test_a_namespace_narrows_and_a_caller_chooses_no_key(ask, bob):
    mine = {"x-tollgate-cache-namespace": "nightly"}
    ask("chat")

    assert cached(ask("chat", headers=mine)) == "miss"
    assert cached(ask("chat", headers=mine)) == "hit"
    assert cached(ask("chat", by=bob, headers=mine)) == "miss"
    for name in (
        "x-tollgate-cache-key",
        "cf-aig-cache-key",
        "x-bf-cache-key",
        "helicone-cache-seed",
    ):
        assert cached(ask("chat", "Ho", headers={name: "chosen"})) in {"miss", "hit"}
        assert cached(ask("chat", f"By {name}", headers={name: "chosen"})) == "miss"


def test_a_header_alone_never_switches_it_on(gateway, acme, ask, in_table):
    Alias.objects.update(cache_seconds=0)
    gateway.catch_up()
    for _ in range(2):
        answer = ask("chat", headers={"x-tollgate-cache": "use"})
        assert "x-tollgate-cache" not in answer.headers
    assert len(gateway.sandbox.calls) == 2
    assert not in_table()


def test_a_request_can_keep_out_of_it(ask, gateway):
    ask("chat")
    out = ask("chat", headers={"x-tollgate-cache": "off"})

    assert (cached(out), out.headers["x-tollgate-cache-reason"]) == ("off", "requested")
    assert len(gateway.sandbox.calls) == 2


@cases(
    ("name", "value"),
    [
        ("x-tollgate-cache", "always"),
        ("x-tollgate-cache-namespace", "x" * 129),
    ],
)
def test_what_a_header_says_must_be_known(ask, name, value):
    answer = ask("chat", headers={name: value})
    assert error_of(answer) == (400, "invalid_request", name)


@cases(
    ("door", "reason", "fields"),
    [
        ("chat", "temperature", {"temperature": 0.2}),
        ("chat", "temperature", {"temperature": None}),
        ("responses", "temperature", {"temperature": None}),
        ("chat", "choices", {"n": 2}),
        ("chat", "hosted_tools", {"web_search_options": {}}),
        ("responses", "hosted_tools", {"tools": [{"type": "web_search"}]}),
        (
            "responses",
            "hosted_tools",
            {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "web_search"}]}]},
        ),
        (
            "chat",
            "audio",
            {"modalities": ["text", "audio"], "audio": {"voice": "a", "format": "wav"}},
        ),
        ("responses", "background", {"background": True, "store": True}),
    ],
)
def test_what_cannot_be_given_again_is_not_kept(ask, in_table, door, reason, fields):
    for _ in range(2):
        answer = ask(door, model="sandbox-responses" if door == "responses" else "", **fields)
        if reason != "background":  # which is queued, and told of elsewhere
            assert (cached(answer), answer.headers["x-tollgate-cache-reason"]) == ("off", reason)
    assert not in_table()


def test_files_by_id_are_not_kept_where_a_tenant_may_use_them(gateway, kept, ask):
    own = {"tenant": kept.tenant}
    provider = rows.provider("responses", gateway.sandbox.base_url, "own", "secret", **own)
    rows.alias("own", (provider, "sandbox-1"), cache_seconds=600, **own)
    gateway.catch_up()
    part = {"type": "input_file", "file_id": "file-1"}
    answer = ask("responses", model="own", input=[{"role": "user", "content": [part]}])

    assert (cached(answer), answer.headers["x-tollgate-cache-reason"]) == ("off", "files")


def test_an_alias_may_keep_answers_to_any_temperature(ask, gateway):
    keeps("sandbox-chat", cache_any_temperature=True)
    gateway.catch_up()
    given: list[Any] = [1, None]
    assert [cached(ask("chat", temperature=value)) for value in given * 2] == ["miss"] * 2 + [
        "hit"
    ] * 2


def test_another_model_behind_the_alias_means_other_answers(ask, gateway):
    ask("chat")
    sandbox = rows.provider("chat", gateway.sandbox.base_url, "elsewhere")
    rows.alias("sandbox-chat", (sandbox, "sandbox-2"), cache_seconds=600)
    gateway.catch_up()
    assert cached(ask("chat")) == "miss"


@cases(
    ("condition", "one", "other"),
    [
        ({"tags.tier": ["gold"]}, {"metadata": {"tier": "gold"}}, {"metadata": {"tier": "tin"}}),
        ({"stream": True}, {"stream": True}, {"stream": False}),
    ],
)
def test_what_chooses_the_model_by_a_condition_counts(ask, gateway, condition, one, other):
    provider = Provider.objects.get(name="sandbox-chat")
    alias = rows.alias(
        "by-rule", (provider, "sandbox-1"), (provider, "sandbox-2"), cache_seconds=60
    )
    alias.targets.filter(position=0).update(when=condition)
    gateway.catch_up()
    said = [cached(ask("chat", model="by-rule", **fields)) for fields in (one, other, one, other)]
    assert said == ["miss", "miss", "hit", "hit"]


def test_a_condition_on_keys_keeps_their_answers_apart_although_a_tenant_shares_them(
    ask, gateway, kept
):
    other, provider = another_key(kept), Provider.objects.get(name="sandbox-chat")
    rules = {"cache_seconds": 60, "cache_scope": "tenant"}
    alias = rows.alias("by-key", (provider, "sandbox-1"), (provider, "sandbox-2"), **rules)
    alias.targets.filter(position=0).update(when={"key": kept.key.public_id})
    gateway.catch_up()
    said = [cached(ask("chat", by=by, model="by-key")) for by in (kept, other, kept, other)]
    assert said == ["miss", "miss", "hit", "hit"]


def test_a_purge_takes_every_answer_with_it_also_those_under_a_link(ask, gateway, kept):
    platforms = Alias.objects.get(name="sandbox-chat")
    Alias.objects.create(name="mine", tenant=kept.tenant, platform_alias=platforms)
    gateway.catch_up()
    for model in ("sandbox-chat", "mine"):
        assert [cached(ask("chat", model=model)) for _ in range(2)] == ["miss", "hit"]

    cache_purge.purge(platforms)
    gateway.catch_up()
    for model in ("sandbox-chat", "mine"):
        assert cached(ask("chat", model=model)) == "miss"


def test_a_link_may_keep_answers_that_the_platform_does_not(ask, gateway, kept):
    platforms = Alias.objects.get(name="sandbox-chat")
    keeps("sandbox-chat", cache_seconds=0)
    Alias.objects.create(
        name="mine", tenant=kept.tenant, platform_alias=platforms, cache_seconds=60
    )
    gateway.catch_up()
    assert [cached(ask("chat", model="mine")) for _ in range(2)] == ["miss", "hit"]
    assert cached(ask("chat")) == ""
