"""A tiny format that a client and an upstream speak, added as any other: a door, a protocol, a sandbox part.

request   {"model", "lines": ["…"], "stream", "cap", "pages"}, of which the last may be used up beside tokens
answer    {"id", "model", "words", "end": "stop" | "cap", "count": {"asked", "made", "pages"}}
stream    {"w": "…"} … {"end", "count"}
error     {"oops": {"why", "kind"}}
"""

from __future__ import annotations

from typing import Any, Literal

import orjson
from msgspec import structs

from gateway_project.lib import ids
from gateway_project.lib.errors import BadRequest, GatewayError, UpstreamCut, UpstreamMalformed
from gateway_project.lib.sse import COMMENT, Frame, data_event
from gateway_project.lib.structure import Caps
from gateway_project.sandbox import protocols as sandbox
from gateway_project.sandbox.ask import PlainRequest
from gateway_project.sandbox.frames import Frames, Mark, StreamTally, deltas
from gateway_project.sandbox.plan import AnswerPlan, ScriptedUsage
from gateway_project.sandbox.stamp import Stamp
from responses_api.doors.door import Door, Native
from responses_api.doors.shapes import ModelCall, parse_object
from responses_api.stream.answer_charge import AnswerCharge
from responses_api.stream.frames import FrameRelay
from responses_api.stream.response import output_text
from responses_api.stream.steps import Appended, Ended, Step
from responses_api.stream.upstream_reader import Identity, dump_json
from routing.protocols.shared import failures
from routing.protocols.shared.conversation import text_of
from routing.protocols.shared.deltas import Delta, Stop, Text
from routing.protocols.shared.fields import mapping, parse, text
from routing.protocols.shared.parameters import fates
from routing.protocols.shared.protocol import UpstreamProtocol
from routing.protocols.shared.tools import Toolbox
from routing.protocols.shared.usage import Meter, count, disjoint
from routing.route import ResolvedTarget
from tenants import units
from tenants.token_classes import Usage

Json = dict[str, Any]
NAME = "toy"


# The protocol


def build(canonical: Json, toolbox: Toolbox, target: ResolvedTarget) -> Json:
    lines = [text_of(item.get("content")) for item in canonical["input"]]
    body: Json = {"model": target.model, "lines": lines, "stream": bool(canonical.get("stream"))}
    if canonical.get("max_output_tokens"):
        body["cap"] = canonical["max_output_tokens"]
    return body


def prepare(body: Json, target: ResolvedTarget) -> Json:
    return {**body, "model": target.model}


def probe(target: ResolvedTarget, prompt: str, limit: int) -> Json:
    return {"model": target.model, "lines": [prompt], "cap": limit}


def read_usage(report: Json) -> Usage:
    usage = disjoint(count(report, "asked"), count(report, "made"), suspicious=False)
    if "pages" not in report:
        return usage
    return structs.replace(usage, units=units.quantities({"pages": count(report, "pages")}))


def meter() -> Meter:
    return Meter(read_usage)


def read_cap(body: Json) -> int | None:
    cap = body.get("cap")
    return cap if isinstance(cap, int) else None


class ToyDeltas:
    """Implements `Adapter`."""

    def __init__(self, target: ResolvedTarget) -> None:
        self._target = target
        self.meter = meter()
        self.done = False
        self.dropped = 0
        self.facts: Json = {}

    def deltas(self, frame: Frame) -> list[Delta]:
        event = parse(frame.data)
        if event is None:
            self.dropped += 1
            return []
        if "oops" in event:
            raise failures.of_event(self._target, event["oops"])
        if "w" in event:
            return [Text("words", text(event["w"]))]
        return self._end(event)

    def body(self, raw: bytes) -> list[Delta]:
        answer = parse(raw)
        if answer is None or "words" not in answer:
            raise UpstreamMalformed(f"The provider {self._target.provider!r} sent no words.")
        return [Text("words", text(answer["words"])), *self._end(answer)]

    def finish(self) -> list[Delta]:
        return []

    def _end(self, said: Json) -> list[Delta]:
        self.meter.observe(said.get("count"))
        self.done = True
        reason: Literal["length", "stop"] = "length" if said.get("end") == "cap" else "stop"
        return [Stop(reason)]


PROTOCOL = UpstreamProtocol(
    name=NAME,
    label="Toy",
    path="/toy",
    headers={"toy-version": "1"},
    build=build,
    prepare=prepare,
    parameters=fates(
        {
            "model": "honoured",
            "input": "honoured lines",
            "instructions": "hint",
            "stream": "forwarded",
            "stream_options": "honoured",
            "max_output_tokens": "forwarded cap",
            "store": "honoured",
            "background": "honoured",
        }
    ),
    output_limit=read_cap,
    adapter=ToyDeltas,
    meter=meter,
    read_usage=read_usage,
    probe=probe,
)


# The door


def decode(raw: bytes, caps: Caps) -> ModelCall:
    body = parse_object(raw, caps)
    if not isinstance(body.get("model"), str) or not isinstance(body.get("lines"), list):
        raise BadRequest("'lines' must be a list.", param="lines")
    most = units.quantities({"pages": body["pages"]}) if "pages" in body else ()
    stream = bool(body.get("stream"))
    return ModelCall(NAME, body["model"], stream, True, body, len(raw), may_use=most)


def canonical(body: Json) -> Json:
    known = {"model", "stream", "lines", "cap"}
    made = {name: value for name, value in body.items() if name not in known}
    made["input"] = [{"role": "user", "content": line} for line in body["lines"]]
    made |= {"model": body["model"], "stream": bool(body.get("stream"))}
    return {**made, "max_output_tokens": body["cap"]} if body.get("cap") else made


def client_param(body: Json, param: str) -> str:
    return {"max_output_tokens": "cap"}.get(param, param.replace("input", "lines"))


def with_cap(body: Json, limit: int) -> Json:
    return {**body, "cap": limit}


def refuse_nothing(body: Json, history: int) -> None:
    return None


def oops(error: GatewayError) -> bytes:
    return orjson.dumps({"oops": {"why": error.message, "kind": error.code}})


def end_failed_stream(call: ModelCall, error: bytes) -> bytes:
    return data_event(error)


class ToyEncoder:
    """Implements `Encoder`."""

    def __init__(self, call: ModelCall, identity: Identity) -> None:
        self._identity = identity
        self.closing = b""

    def start(self, response: Json) -> bytes:
        return b""

    def announce(self, response: Json) -> bytes:
        return COMMENT

    def keepalive(self) -> bytes:
        return COMMENT

    def encode(self, step: Step) -> bytes:
        if isinstance(step, Appended) and step.place.kind == "text":
            return data_event(orjson.dumps({"w": step.delta}))
        if isinstance(step, Ended):
            self.closing = data_event(orjson.dumps(_ended(step.response)))
            return self.closing
        return b""

    def failed(self, error: GatewayError, steps: list[Step]) -> bytes:
        self.closing = data_event(oops(error))
        return self.closing

    def final(self, response: Json) -> bytes:
        self.closing = orjson.dumps(self.document(response))
        return self.closing

    def document(self, response: Json) -> Json:
        own = {"id": self._identity.id, "model": self._identity.model}
        return {**own, "words": output_text(response["output"]), **_ended(response)}

    def closing_unstored(self, response: Json) -> bytes:
        return self.closing

    def rewrite_end(self, response: Json) -> bytes:
        if not self.closing.startswith(b"data:"):
            return self.final(response)
        self.closing = data_event(orjson.dumps(_ended(response)))
        return self.closing


def _ended(response: Json) -> Json:
    report = response["usage"] or {}
    counts = {"asked": report.get("input_tokens", 0), "made": report.get("output_tokens", 0)}
    return {"end": "cap" if response["incomplete_details"] else "stop", "count": counts}


class ToyRelay(FrameRelay):
    """Implements `UpstreamReader` where the upstream speaks the toy too."""

    def __init__(self, call: ModelCall, target: ResolvedTarget, identity: Identity) -> None:
        super().__init__(meter(), target, identity)

    def body(self, raw: bytes) -> bytes:
        answer = parse(raw)
        if answer is None or "words" not in answer:
            raise UpstreamMalformed(f"The provider {self._target.provider!r} sent no words.")
        self.meter.observe(answer.get("count"))
        self.has_output = self.ended = True
        own = {"id": self._identity.id, "model": self._identity.model}
        self.closing = dump_json({**answer, **own}, self._target)
        return self.closing

    def _take(self, data: bytes, pieces: list[bytes]) -> None:
        event = parse(data) or {}
        if "oops" in event:
            raise failures.of_event(self._target, event["oops"])
        self.has_output = True
        pieces.append(data_event(data))
        if "w" in event:
            self.tally.add(len(event["w"]))
        else:
            self.meter.observe(mapping(event.get("count")))
            self.ended = True
            self.closing = pieces[-1]

    def finish(self) -> bytes:
        if not self.ended:
            raise UpstreamCut(f"The provider {self._target.provider!r} ended the stream too early.")
        return b""

    def announce(self) -> bytes:
        return COMMENT

    keepalive = announce

    def failed(self, error: GatewayError) -> bytes:
        self.ended, self.status = True, "failed"
        self.closing = data_event(oops(error))
        return self.closing

    def cut_short(self, usage: Usage, why: str) -> bytes:
        self.ended, self.status = True, "incomplete"
        self.closing = data_event(orjson.dumps({"end": "cap", "count": _told(usage)}))
        return self.closing

    def tell_usage(self, charge: AnswerCharge) -> bytes:
        is_stream = self.closing.startswith(b"data:")
        said = parse(self.closing.removeprefix(b"data: ")) or {}
        said["count"] = _told(charge.usage)
        self.closing = data_event(orjson.dumps(said)) if is_stream else orjson.dumps(said)
        return self.closing

    def answer(self) -> Json | None:
        return None

    def closing_unstored(self) -> bytes:
        return self.closing


def _told(usage: Usage) -> Json:
    return {"asked": usage.input_total, "made": usage.output_total}


def new_id() -> str:
    return ids.item_id(NAME)


DOOR = Door(
    name=NAME,
    path="toy/talk",
    new_id=new_id,
    parameters={"model": "model", "input": "lines", "max_output_tokens": "cap"},
    decode=decode,
    refuse_foreign_ids=refuse_nothing,
    canonical=canonical,
    client_param=client_param,
    with_output_limit=with_cap,
    output_limit=read_cap,
    native=Native(protocol=PROTOCOL, relay=ToyRelay),
    encoder=ToyEncoder,
    error=oops,
    failed_stream=end_failed_stream,
    failure_marker=b'data: {"oops":',
)


# The sandbox's part


def _missing(body: Json) -> str | None:
    return None if isinstance(body.get("lines"), list) else "lines"


def _ask(body: Json) -> PlainRequest:
    lines = [str(line) for line in body["lines"]]
    size = sum(map(len, lines))
    return PlainRequest(text=lines[-1], results=(), input_bytes=size, max_tokens=read_cap(body))


def _counts(usage: ScriptedUsage) -> Json:
    return {"asked": usage.input, "made": usage.output}


def _over(body: Json, plan: AnswerPlan) -> Json:
    counts = _counts(plan.usage)
    if "pages" in body:
        counts["pages"] = body["pages"] - 1  # a page less than it might have been
    return {"end": "cap" if plan.stop == "length" else "stop", "count": counts}


def _answer(body: Json, plan: AnswerPlan, stamp: Stamp) -> Json:
    return {
        "id": stamp.id("upstream_"),
        "model": stamp.model,
        "words": plan.text,
        **_over(body, plan),
    }


def _events(body: Json, plan: AnswerPlan, stamp: Stamp, tally: StreamTally) -> Frames:
    yield from deltas(plan.pieces(), b'data: {"w":', b"}\n\n", plan.marked, tally)
    if plan.marked:
        yield Mark.ENDING
    said = {"oops": {"message": "It broke."}} if plan.ending == "error" else _over(body, plan)
    yield data_event(orjson.dumps(said))


SANDBOX_PATH = "/v1/toy"
SANDBOX = sandbox.Protocol(NAME, _missing, _ask, _answer, _events)
