"""Random trees of responses, compared with a model of them: what every fork remembers, and what it does not.

Twice: over the storage functions with many trees of two tenants, and over HTTP, where the model is compared
with what the upstream received.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule, run_state_machine_as_test

from gateway_project.lib import ids
from responses_api.models import StoredResponse
from responses_api.storage import chains
from responses_api.storage.records import StoreSpec, insert_response, own_input
from routing.protocols.shared.envelope import Maker
from tests.plugins.tiers import examples
from tests.responses_api.storage.calls import answered, ask, create, heard, sent
from tests.support import rows
from tests.support.client import error_of
from tests.support.live import LiveGateway
from tests.support.rows import PROTOCOLS

pytestmark = pytest.mark.persistence

Json = dict[str, Any]
Said = list[tuple[str, str]]


@dataclass(eq=False)
class Node:
    """A response of the model, which remembers by walking to its root, as slowly as can be."""

    response_id: str
    said: Said
    parent: Node | None = None
    tenant_id: int = 0
    status: str = "completed"
    is_deleted: bool = False

    @property
    def line(self) -> list[Node]:
        """Return the responses from the root to here."""
        return [*(self.parent.line if self.parent else []), self]

    @property
    def remembered(self) -> Said:
        return [turn for node in self.line for turn in node.said]

    @property
    def is_whole(self) -> bool:
        return not any(node.is_deleted for node in self.line)

    def delete(self) -> None:
        StoredResponse.objects.filter(id=self.response_id).delete()
        self.is_deleted = True


# The storage functions


class Forest(RuleBasedStateMachine):
    """Trees of two tenants; what is loaded is asked for by both."""

    nodes: Bundle[Node] = Bundle("nodes")
    tenants: tuple[int, int]

    def __init__(self) -> None:
        super().__init__()
        self.words = map(str, count())

    @rule(target=nodes, whose=st.integers(0, 1), turns=st.integers(1, 3))
    def begin(self, whose: int, turns: int) -> Node:
        return self.keep(None, self.tenants[whose], turns, "completed")

    @rule(
        target=nodes,
        parent=nodes,
        turns=st.integers(0, 3),
        status=st.sampled_from(["completed", "completed", "incomplete", "failed"]),
    )
    def go_on(self, parent: Node, turns: int, status: str) -> Node:
        """Continue from any response, also one that others continue from already."""
        return self.keep(parent, parent.tenant_id, turns, status)

    @rule(node=nodes)
    def delete(self, node: Node) -> None:
        node.delete()

    @rule(node=nodes)
    def load(self, node: Node) -> None:
        assert chains.load(sum(self.tenants) - node.tenant_id, node.response_id) is None
        if not node.is_whole:
            assert chains.load(node.tenant_id, node.response_id) is None
        elif node.status == "failed":
            with pytest.raises(chains.NotContinuable):
                chains.load(node.tenant_id, node.response_id)
        else:
            chain = chains.load(node.tenant_id, node.response_id)
            assert chain is not None
            assert chain.root_id == node.line[0].response_id
            assert [(i["role"], i["content"][0]["text"]) for i in chain.items] == node.remembered

    def keep(self, parent: Node | None, tenant_id: int, turns: int, status: str) -> Node:
        """A response as the writer keeps it, with as many messages of input."""
        given = [("user", next(self.words)) for _ in range(turns)]
        gave = [("assistant", next(self.words))]
        node = Node(ids.response_id(), given + gave, parent, tenant_id, status)
        store_spec = StoreSpec(
            tenant_id=tenant_id,
            key_public_id="key",
            model="m",
            retention_days=30,
            own_input=messages(given),
            parent_id=parent.response_id if parent else "",
            root_id=node.line[0].response_id if parent else "",
        )
        response = {"id": node.response_id, "status": status, "output": messages(gave)}
        with connection.cursor() as cursor:
            insert_response(cursor, store_spec, response, Maker("sandbox-chat"))
        return node


def messages(said: Said) -> list[Json]:
    return own_input([{"role": role, "content": text} for role, text in said])


@pytest.mark.django_db
def test_whatever_was_begun_forked_and_deleted_each_response_remembers_its_own_line():
    tenants = rows.customer("acme").tenant.pk, rows.customer("zenith").tenant.pk
    machine = type("Machine", (Forest,), {"tenants": tenants})

    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=examples(60), stateful_step_count=40),
    )


# Over HTTP

STEPS = st.lists(
    st.tuples(st.sampled_from(["begin", "go on", "go on", "go on", "delete"]), st.integers(0, 99)),
    min_size=2,
    max_size=12,
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=examples(20))
@given(steps=STEPS)
def test_the_upstream_hears_the_line_that_the_response_continues(
    http: httpx.Client, gateway: LiveGateway, protocol: str, steps: list[tuple[str, int]]
):
    nodes: list[Node] = []
    for turn, (step, number) in enumerate(steps):
        parent = nodes[number % len(nodes)] if nodes and step != "begin" else None
        if parent is not None and step == "delete":
            parent.delete()
        elif parent is not None and not parent.is_whole:
            assert_cannot_go_on(http, gateway, protocol, parent)
        else:
            nodes.append(said_next(http, gateway, protocol, parent, f"turn {turn}", number % 2 > 0))


def said_next(
    http: httpx.Client,
    gateway: LiveGateway,
    protocol: str,
    parent: Node | None,
    text: str,
    stream: bool,
) -> Node:
    parent_id = parent.response_id if parent else None
    response = create(http, protocol, input=text, previous_response_id=parent_id, stream=stream)
    said = [("user", text), answered(text)]
    assert heard(sent(gateway)) == [*(parent.remembered if parent else []), said[0]]
    return Node(response["id"], said, parent)


def assert_cannot_go_on(
    http: httpx.Client, gateway: LiveGateway, protocol: str, parent: Node
) -> None:
    before = len(gateway.sandbox.calls)
    answer = ask(http, protocol, previous_response_id=parent.response_id)
    assert error_of(answer) == (400, "previous_response_not_found", "previous_response_id")
    assert len(gateway.sandbox.calls) == before
