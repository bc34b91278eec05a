"""Plan one attempt at one target: what is sent, and what makes the client's answer of what comes back.

A bridge joins a door to an upstream protocol, and is derived from both. Where both sides speak the same
protocol it relays, elsewhere it translates. It also translates where the provider's row says that it speaks a
dialect (the quirk `translate`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct

from gateway_project.lib.errors import BadRequest, UnsupportedParameter
from gateway_project.lib.json import Json, dumps
from responses_api.compaction.adapter import compact_answer, filter_deltas, prepend_item
from responses_api.compaction.request import is_triggered, summary_request
from responses_api.doors.door import Door, Native
from responses_api.doors.shapes import ModelCall, rename_param
from responses_api.stream.assembler import Assembler
from responses_api.stream.translation import Translation
from responses_api.stream.upstream_reader import Identity, UpstreamReader
from routing.protocols.shared import parameters
from routing.protocols.shared.deltas import Adapter
from routing.protocols.shared.protocol import UpstreamProtocol
from routing.protocols.shared.tools import Toolbox
from routing.route import ResolvedTarget

DROPPED_HEADER = "x-tollgate-dropped"
MAX_DROPPED_HEADER = 1000
_NOT_IN_A_HEADER = re.compile(r"[^A-Za-z0-9_.:-]+")
# What goes to a vendor that the client's other headers are not meant for.
_OUR_HEADERS = ("accept", "x-request-id")


class Plan(Struct, frozen=True, gc=False):
    """`body` goes upstream, `reader` reads the answer, `dropped` names what was asked for and left out.
    `guarded` is the reader of an answer that guardrails may change."""

    body: Json
    reader: UpstreamReader
    dropped: tuple[str, ...] = ()
    guarded: Translation | None = None

    @property
    def reply_headers(self) -> dict[str, str]:
        """Make the headers that tell the client about it."""
        return {DROPPED_HEADER: _list_names(self.dropped)} if self.dropped else {}


class Planner(Protocol):
    """Plan a call at a target. Raises BadRequest for what cannot be said there."""

    def __call__(
        self, call: ModelCall, target: ResolvedTarget, identity: Identity, *, drop_unsupported: bool
    ) -> Plan: ...


@dataclass(frozen=True, slots=True)
class Bridge:
    """The way of a call from its door to an upstream, and of the answer back."""

    path: str
    plan: Planner
    headers: Callable[[Mapping[str, str]], dict[str, str]]
    instead: Bridge | None = None
    can_limit: bool = True

    def fitting(self, call: ModelCall) -> Bridge:
        """Return the bridge for a call: not to a route whose answers cannot be read, where a guardrail is
        to read them."""
        return self if call.guard is None or self.instead is None else self.instead


def build_bridges(
    doors: Iterable[Door], protocols: Iterable[UpstreamProtocol]
) -> dict[tuple[str, str], Bridge]:
    """Join every door that asks a model to every protocol."""
    known = tuple(protocols)
    return {
        (door.name, protocol.name): build_bridge(door, protocol)
        for door in doors
        if door.generates
        for protocol in known
    }


def build_bridge(door: Door, protocol: UpstreamProtocol) -> Bridge:
    """Join a door to a protocol."""
    native = door.native
    translated = Bridge(protocol.path, _plan_translation(door, protocol), _own_headers(protocol))
    if native is None or native.protocol.name != protocol.name:
        return translated
    return Bridge(
        native.path or protocol.path,
        _plan_native(door, native, protocol, translated.plan),
        _all_headers(protocol),
        instead=translated if native.else_translates else None,
        can_limit=native.takes_limit,
    )


def _own_headers(protocol: UpstreamProtocol) -> Callable[[Mapping[str, str]], dict[str, str]]:
    """Drop headers meant for another vendor, and add what the protocol demands."""

    def headers(passed_on: Mapping[str, str]) -> dict[str, str]:
        return {**{name: passed_on[name] for name in _OUR_HEADERS}, **protocol.headers}

    return headers


def _all_headers(protocol: UpstreamProtocol) -> Callable[[Mapping[str, str]], dict[str, str]]:
    """Pass all of them on, with what the protocol demands."""
    return lambda passed_on: {**passed_on, **protocol.headers}


def _plan_native(
    door: Door, native: Native, protocol: UpstreamProtocol, translated: Planner
) -> Planner:
    """Send the client's own body with what the gateway owns, and pass the answer through; translate it where
    the provider's row asks for that and a translation can hold it, and where a guardrail may change it."""
    request = native.request or protocol.prepare
    if request is None:
        raise ValueError(
            f"The protocol {protocol.name!r} has no 'prepare', and a door that needs it."
        )
    standard = native.terms and _plan_standard(request, native.terms, door, protocol)
    relay, can_standardise = native.relay, native.can_standardise

    def plan(
        call: ModelCall, target: ResolvedTarget, identity: Identity, *, drop_unsupported: bool
    ) -> Plan:
        if call.guard is not None:
            guarded = _guarded(call, standard, translated, can_standardise)
            return guarded(call, target, identity, drop_unsupported=drop_unsupported)
        if target.quirks.translate and standard is not None and can_standardise(call.body):
            return standard(call, target, identity, drop_unsupported=drop_unsupported)
        try:
            return Plan(request(call.body, target), relay(call, target, identity))
        except BadRequest as error:
            raise rename_param(error, call.client_param) from None

    return plan


def _guarded(
    call: ModelCall,
    standard: Planner | None,
    translated: Planner,
    can_standardise: Callable[[Json], bool],
) -> Planner:
    """Choose the translation whose deltas a guardrail filters. Raise UnsupportedParameter for an answer that
    no translation can hold."""
    if not can_standardise(call.body):
        raise UnsupportedParameter(
            "A guardrail looks at the answers of this model, and can do so for one answer of text and calls "
            "of tools only: send no 'n' above 1, 'audio', 'functions' or 'function_call'.",
        )
    return standard if standard is not None else translated


def _plan_translation(door: Door, protocol: UpstreamProtocol) -> Planner:
    """Go through the canonical body there, through deltas and steps back."""
    make_encoder = door.encoder
    assert make_encoder is not None

    def plan(
        call: ModelCall, target: ResolvedTarget, identity: Identity, *, drop_unsupported: bool
    ) -> Plan:
        try:
            canonical = door.canonical(call.body)
            compacts = door.compacts or _is_triggered(call, canonical)
            asked = _ask_for_summary(call, canonical) if compacts else canonical
            kept, dropped = parameters.prepare(asked, protocol.parameters, drop_unsupported)
            toolbox = protocol.toolbox(kept, target)
            body = protocol.build(kept, toolbox, target)
        except BadRequest as error:
            raise rename_param(
                error, lambda name: call.client_param(door.client_param(call.body, name))
            ) from None
        native = protocol.knows_custom_tools
        echoed = {name: value for name, value in canonical.items() if name not in dropped}
        assembler = Assembler(identity, echoed, toolbox, wraps_custom=not native)
        check_writable(assembler.start().response)
        encoder = make_encoder(call, identity)
        gate = None if call.guard is None else call.guard.begin(toolbox, for_us=compacts)
        adapter = protocol.adapter(target)
        if gate is not None and compacts:  # later there is no text, only what was sealed
            adapter, gate = filter_deltas(adapter, gate), None
        adapter = _rewrite(adapter, call, compacts=compacts)
        translation = Translation(adapter, assembler, encoder, target, gate)
        names = [door.client_param(call.body, name) for name in dropped]
        told = (*names, *(() if native else toolbox.dropped))
        return Plan(body, translation, told, translation if gate is not None else None)

    return plan


def _plan_standard(
    request: Callable[[Json, ResolvedTarget], Json],
    terms: Callable[[Json], Json],
    door: Door,
    protocol: UpstreamProtocol,
) -> Planner:
    """Send a request as a relay would, so that every parameter survives, and translate the answer, which is
    in a dialect of the client's own format."""
    make_encoder = door.encoder
    assert make_encoder is not None

    def plan(
        call: ModelCall, target: ResolvedTarget, identity: Identity, *, drop_unsupported: bool
    ) -> Plan:
        try:
            body = request(call.body, target)
            asked = terms(call.body)
            toolbox = _tools_as_written(asked)
        except BadRequest as error:
            raise rename_param(
                error, lambda name: call.client_param(door.client_param(call.body, name))
            ) from None
        assembler = Assembler(identity, asked, toolbox, wraps_custom=False)
        check_writable(assembler.start().response)
        encoder = make_encoder(call, identity)
        gate = None if call.guard is None else call.guard.begin(toolbox)
        translation = Translation(protocol.adapter(target), assembler, encoder, target, gate)
        return Plan(body, translation, guarded=translation if gate is not None else None)

    return plan


def _ask_for_summary(call: ModelCall, canonical: Json) -> Json:
    """Leave out the client's output limit, which is for answers, but not that of its budgets."""
    asked = summary_request(canonical)
    return asked if call.clamp is None else {**asked, "max_output_tokens": call.clamp}


def _tools_as_written(asked: Json) -> Toolbox:
    """Read the tools of a request that goes out as its client wrote it: a `tool_choice` that is not in the
    standard is for the upstream to judge."""
    try:
        return Toolbox.of(asked, keeps_names=True)
    except BadRequest:
        return Toolbox.of({**asked, "tool_choice": None}, keeps_names=True)


def _is_triggered(call: ModelCall, canonical: Json) -> bool:
    return call.compaction is not None and is_triggered(canonical["input"])


def _rewrite(adapter: Adapter, call: ModelCall, *, compacts: bool) -> Adapter:
    """Lead the adapter's deltas through what a compaction makes of them."""
    if compacts:
        assert call.compaction is not None
        return compact_answer(adapter, call.compaction.seal)
    return prepend_item(adapter, call.preceding) if call.preceding is not None else adapter


def check_writable(response: Json) -> None:
    """Refuse what is too deep to write, because part of the request goes back to the client."""
    dumps(response)


def _list_names(names: Iterable[str]) -> str:
    """Join names as a header's value. They may be the client's words, so only harmless characters stay."""
    clean = (_NOT_IN_A_HEADER.sub("_", name) for name in dict.fromkeys(names))
    return ", ".join(clean)[:MAX_DROPPED_HEADER]
