"""Items as they are kept: ids, types, statuses and parts."""

from __future__ import annotations

from responses_api.storage.items import PREFIXES, WITHOUT_STATUS, identify_all, identify_item
from tests.plugins.cases import cases


@cases("kind", sorted(PREFIXES))
def test_every_type_gets_an_id_of_its_own_kind_and_a_status_where_it_has_one(kind):
    given = {"type": kind, "extra": {"kept": True}}
    item = identify_item(given)
    assert item["id"].startswith(PREFIXES[kind] + "_")
    assert item.get("status") == (None if kind in WITHOUT_STATUS else "completed")
    assert item["extra"] == {"kept": True}
    assert given == {"type": kind, "extra": {"kept": True}}


def test_ids_are_unique_also_where_the_prefixes_are():
    assert len(set(PREFIXES.values())) == len(PREFIXES)
    assert len({identify_item({"type": "reasoning"})["id"] for _ in range(100)}) == 100


def test_what_is_complete_stays_as_it_was():
    call = {"type": "function_call", "id": "fc_1", "status": "incomplete", "arguments": "{"}
    part = {"type": "output_text", "text": "x", "annotations": [{"type": "url_citation"}]}
    message = {
        "type": "message",
        "id": "m",
        "status": "completed",
        "role": "assistant",
        "content": [part, {"type": "refusal", "refusal": "no"}, "odd"],
        "phase": "final_answer",
    }
    assert identify_item(call) == call
    assert identify_item(message) == message


@cases(
    ("given", "more"),
    [
        ({"type": "shell_call"}, {"environment": None}),
        ({"type": "shell_call", "environment": {"type": "local"}}, {}),
        ({"type": "shell_call_output"}, {"max_output_length": None}),
        ({"type": "shell_call_output", "max_output_length": 5}, {}),
        ({"type": "tool_search_call"}, {"call_id": None, "execution": "server"}),
        ({"type": "tool_search_output", "call_id": "call_1"}, {"execution": "client"}),
        ({"type": "tool_search_output", "call_id": "c", "execution": "server"}, {}),
    ],
)
def test_what_need_not_be_sent_is_there_when_it_comes_back(given, more):
    whole = {**given, "id": "x_1", "status": "completed"}
    assert identify_item(whole) == {**whole, **more}


@cases("bad", [None, "", 1, [], {}, "a\0b", "x" * 201])
def test_an_id_that_cannot_be_looked_up_is_replaced(bad):
    assert identify_item({"type": "reasoning", "id": bad})["id"].startswith("rs_")


def test_a_type_nobody_knows_gets_an_id_and_nothing_else():
    item = identify_item({"type": "acme:trace", "x": 1})
    assert item == {"type": "acme:trace", "x": 1, "id": item["id"]}
    assert item["id"].startswith("item_")


@cases(
    ("role", "part"),
    [
        ("user", {"type": "input_text", "text": "Hi"}),
        ("system", {"type": "input_text", "text": "Hi"}),
        ("developer", {"type": "input_text", "text": "Hi"}),
        ("assistant", {"type": "output_text", "text": "Hi", "annotations": []}),
    ],
)
def test_a_messages_text_becomes_a_part_and_its_type_is_said(role, part):
    item = identify_item({"role": role, "content": "Hi", "id": "msg_1"})
    assert item == {
        "role": role,
        "content": [part],
        "id": "msg_1",
        "type": "message",
        "status": "completed",
    }


def test_of_items_with_one_id_the_first_keeps_it():
    items = [{"type": "reasoning", "id": name} for name in ("rs_1", "rs_2", "rs_1", "rs_3")]
    first, second, third, fourth = (item["id"] for item in identify_all(items, {"rs_3"}))
    assert (first, second) == ("rs_1", "rs_2")
    assert len({first, second, third, fourth, "rs_3"}) == 5
