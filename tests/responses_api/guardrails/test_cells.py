"""A guardrail does what its row says whatever it is: each stage, kind, action, door, transport and protocol.

What must happen is worked out by one small oracle, `expect`; the cells are so many that only the proof walks
them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
import pytest

from responses_api.enforcement.validating import STAGES, UNMASKABLE
from responses_api.models import Guardrail, GuardrailEvent
from routing.protocols import PROTOCOLS
from tests.plugins.cases import cases, sample
from tests.responses_api.doors.speakers import SPEAKERS
from tests.support import guardrails, ledger
from tests.support.client import PATHS, client_of, events_in
from tests.support.guardrails import Service
from tests.support.live import LiveGateway
from tests.support.patience import until
from tests.support.rows import Customer
from tests.support.sockets import opened

Json = dict[str, Any]
WAYS = (
    ("chat", "json"), ("chat", "sse"), ("responses", "json"), ("responses", "sse"),
    ("responses", "websocket"), ("responses", "background"),
)  # fmt: skip
# By kind its configuration, a text it finds, and what an irreversible mask makes of it.
TEXTS: dict[str, tuple[Json, str, str]] = {
    "terms": ({"terms": ["apples"]}, "apples", "[REDACTED]"),
    "pattern": (
        {"patterns": [{"name": "case", "pattern": "CASE-[0-9]{4}"}]}, "CASE-1234", "[CASE]",
    ),
    "pii": ({}, "bob@example.com", "[EMAIL]"),
    "secrets": ({}, "sk-ant-abcdefghij0123456789", "[API_KEY]"),
    "moderation": ({}, "apples", ""),
    "webhook": ({}, "apples", "[FRUIT]"),
}  # fmt: skip
# Tools and limits have no text that they look for.
DENIED = {
    "tools": {"denied_functions": ["look"]},
    "input_limits": {"denied_roles": ["developer", "system"]},
}


@dataclass(frozen=True, slots=True)
class Cell:
    stage: str
    kind: str
    action: str  # block, mask, reversible or monitor
    door: str
    transport: str
    protocol: str

    @property
    def name(self) -> str:
        return "-".join(
            (
                self.kind.replace("_", "-"),
                self.stage,
                self.action,
                self.door,
                self.transport,
                self.protocol,
            )
        )

    @property
    def found(self) -> str:
        """Return what the guardrail looks for; empty if that is no text."""
        return TEXTS[self.kind][1] if self.kind in TEXTS else ""

    @property
    def mask(self) -> str:
        mask = TEXTS[self.kind][2]
        return f"{mask[:-1]}_1]" if self.action == "reversible" else mask


def _actions(kind: str, stage: str) -> tuple[str, ...]:
    if kind in UNMASKABLE:
        return "block", "monitor"
    is_reversible = kind != "webhook" and stage == "input"
    return ("block", "mask", "monitor", *(["reversible"] if is_reversible else []))


CELLS = [
    Cell(stage, kind, action, door, transport, protocol)
    for kind, stages in STAGES.items()
    for stage in stages
    if (kind, stage) != ("tools", "input")  # tools that a request brings are found as definitions
    for action in _actions(kind, stage)
    for door, transport in WAYS
    for protocol in PROTOCOLS
]


@dataclass(frozen=True, slots=True)
class Expected:
    """`upstream` is what the provider must be sent of the text that is looked for, None if it is not asked;
    `client` what the client sees of it in its answer, None if it is told of a block."""

    upstream: str | None
    client: str | None
    outcome: str


def expect(cell: Cell) -> Expected:
    """Work out what must happen. The sandbox says what it is told, or calls the tool it is given."""
    if cell.action == "monitor":
        return Expected(cell.found, cell.found, "monitored")
    if cell.stage == "output":
        seen = None if cell.action == "block" else cell.mask
        return Expected(cell.found, seen, "blocked" if seen is None else "masked")
    if cell.action == "block":
        return Expected(None, None, "blocked")
    return Expected(cell.mask, cell.found if cell.action == "reversible" else cell.mask, "masked")


def body_of(cell: Cell) -> Json:
    """Return a request in which the guardrail finds something at its stage, and only there."""
    in_tool = cell.stage == "tools"
    calls = cell.kind == "tools" and cell.stage == "output"
    said = "[tools=1] Hi" if calls else f"go {cell.found} go" if not in_tool else "Hi"
    body = {"model": f"m-{cell.protocol}", **SPEAKERS[cell.door].ask(said)}
    if cell.kind == "input_limits":
        body = {"model": f"m-{cell.protocol}", **_with_a_developer(cell.door)}
    if in_tool or cell.kind == "tools":
        function = {
            "name": "look", "description": f"finds {cell.found}",
            "parameters": {"type": "object", "properties": {}},
        }  # fmt: skip
        is_chat = cell.door == "chat"
        tool = {"function": function} if is_chat else function
        body["tools"] = [{"type": "function", **tool}]
    return body


def _with_a_developer(door: str) -> Json:
    said = [{"role": "developer", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    return {"messages" if door == "chat" else "input": said}


# The services outside


def moderate(question: Json) -> Json:
    def result(is_found: bool) -> Json:
        scores = {"fruit": 0.5}
        return {"flagged": is_found, "categories": {"fruit": is_found}, "category_scores": scores}

    return {"results": [result("apples" in text) for text in question["input"]]}


def judge(action: str, question: Json) -> Json:
    found = [
        {"index": number, "spans": [{"start": at, "end": at + 6, "replacement": "[FRUIT]"}]}
        for number, segment in enumerate(question["segments"])
        if (at := segment["text"].find("apples")) >= 0
    ]
    if not found:
        return {"action": "allow"}
    if action == "mask":
        return {"action": "mask", "rule": "fruit", "segments": found}
    return {"action": "block", "rule": "fruit"}


def guard(cell: Cell, customer: Customer, service: Service) -> None:
    """Make the guardrail of a cell, in place of the one before."""
    fields: Json = {
        "action": "mask" if cell.action == "reversible" else cell.action,
        "stages": [cell.stage],
        "tenant": customer.tenant,
        "reversible": cell.action == "reversible",
        "config": TEXTS[cell.kind][0] if cell.kind in TEXTS else DENIED[cell.kind],
    }
    Guardrail.objects.all().delete()
    if cell.kind in {"moderation", "webhook"}:
        service.judge = moderate if cell.kind == "moderation" else partial(judge, cell.action)
        fields["tenant"] = None  # only the platform may ask on this machine, where the service is
        guardrails.outside(cell.name, service, cell.kind, **fields)
    else:
        guardrails.guardrail(cell.name, cell.kind, **fields)


# Asking


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as its client was told it: the code of a refusal, and everything in it."""

    refusal: str | None
    told: str


def ask(gateway: LiveGateway, customer: Customer, cell: Cell) -> Answered:
    body = body_of(cell)
    if cell.transport == "websocket":
        return _over_a_websocket(gateway, customer, body)
    with client_of(gateway, customer) as http:
        if cell.transport == "background":
            return _in_the_background(http, body)
        is_stream = cell.transport == "sse"
        answer = http.post(PATHS[cell.door], json={**body, "stream": is_stream})
    if answer.status_code != 200:
        assert answer.status_code == 400, answer.text
        return Answered(answer.json()["error"]["code"], answer.text)
    if not is_stream:
        return Answered(None, answer.text)
    return Answered(None, "".join(_pieces(cell.door, events_in(answer.content))) + answer.text)


def _pieces(door: str, events: list[Json]) -> Iterator[str]:
    """The text of a stream in one piece, so that what is split over events is found."""
    for event in events:
        if door == "responses" and event["type"] == "response.output_text.delta":
            yield event["delta"]
        for choice in event.get("choices") or ():
            yield choice["delta"].get("content") or ""


def _over_a_websocket(gateway: LiveGateway, customer: Customer, body: Json) -> Answered:
    with opened(gateway, customer.headers) as ws:
        ws.create(**body)
        events = ws.events()
    if events[-1]["type"] == "error":
        return Answered(events[-1]["error"]["code"], str(events))
    return Answered(None, "".join(_pieces("responses", events)) + orjson.dumps(events).decode())


def _in_the_background(http: Any, body: Json) -> Answered:
    made = http.post("/responses", json={**body, "background": True})
    if made.status_code != 200:
        return Answered(made.json()["error"]["code"], made.text)
    address = f"/responses/{made.json()['id']}"
    until(lambda: http.get(address).json()["status"] not in {"queued", "in_progress"})
    return Answered(None, http.get(address).text)


@pytest.fixture
def service() -> Iterator[Service]:
    with Service(lambda question: {}) as service:
        yield service


@sample(default=4, ci=18)
@cases("cell", CELLS, ids=lambda cell: cell.name)
def test_a_guardrail_does_what_its_row_says(
    gateway: LiveGateway, customer: Customer, service: Service, cell: Cell
) -> None:
    guard(cell, customer, service)
    gateway.catch_up()
    settled = len(ledger.rows(gateway))
    gateway.call(gateway.sandbox.forget)
    expected = expect(cell)

    answered = ask(gateway, customer, cell)

    sent = "".join(orjson.dumps(call.body).decode() for call in gateway.sandbox.calls)
    _check_upstream(cell, expected, sent)
    _check_client(cell, expected, answered)
    _check_event(cell, expected)
    written = ledger.rows(gateway)[settled:]
    if expected.upstream is None:
        assert written == []  # nothing was sent, so nothing is paid
    else:
        assert [row.guardrail_outcome for row in written] == [expected.outcome]


def _check_upstream(cell: Cell, expected: Expected, sent: str) -> None:
    if expected.upstream is None:
        assert not sent
        return
    assert sent
    assert expected.upstream in sent
    if expected.upstream != cell.found:
        assert cell.found not in sent


def _check_client(cell: Cell, expected: Expected, answered: Answered) -> None:
    if expected.client is None and cell.stage != "output":
        assert answered.refusal == "content_policy_violation"
        return
    assert answered.refusal is None, answered.told
    if expected.client is None:
        assert "content_filter" in answered.told
        assert not cell.found or cell.found not in answered.told
    elif cell.stage != "tools" and cell.found:  # the sandbox does not speak of its tools
        assert expected.client in answered.told


def _check_event(cell: Cell, expected: Expected) -> None:
    found = GuardrailEvent.objects.filter(guardrail=cell.name)
    until(found.exists)
    assert {(each.stage, each.action) for each in found} == {(cell.stage, expected.outcome)}


def test_no_kind_is_left_out() -> None:
    assert {cell.kind for cell in CELLS} == set(Guardrail.Kind.values)
    assert {cell.stage for cell in CELLS} == {"input", "output", "tools"}
