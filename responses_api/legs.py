"""One attempt at one target: what is sent, and what makes the client's answer of what comes back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from gateway_project.lib.errors import BadRequest
from responses_api.assembly.assembler import Assembler
from responses_api.compaction.adapter import compacting, preceded
from responses_api.compaction.request import is_triggered, summary_request
from responses_api.doors.shapes import ModelCall, renamed
from responses_api.encoders import Encoder
from responses_api.relay import Identity, Relay
from responses_api.translation import Adapter, Translation
from routing.protocols import parameters
from routing.protocols.tools import Toolbox
from routing.route import Target

Json = dict[str, Any]

DROPPED_HEADER = "x-tollgate-dropped"
MAX_DROPPED_HEADER = 1000
_NOT_IN_A_HEADER = re.compile(r"[^A-Za-z0-9_.:-]+")


@dataclass(frozen=True, slots=True)
class Leg:
    """`body` goes upstream, `relay` reads the answer, `dropped` names what was asked for and left out."""

    body: Json
    relay: Relay
    dropped: tuple[str, ...] = ()

    @property
    def reply_headers(self) -> dict[str, str]:
        """What the client is told beside the answer."""
        return {DROPPED_HEADER: _listed(self.dropped)} if self.dropped else {}


class Opener(Protocol):
    """Makes the leg of a call at a target. Raises BadRequest for what cannot be said there."""

    def __call__(
        self, call: ModelCall, target: Target, identity: Identity, *, drop_unsupported: bool
    ) -> Leg: ...


@dataclass(frozen=True, slots=True)
class ClientSide:
    """A door's half of a translation. `client_param` gives the client's name for a canonical field;
    `compacts`: what is asked for is a summary."""

    canonical: Callable[[Json], Json]
    client_param: Callable[[Json, str], str]
    encoder: Callable[[ModelCall, Identity], Encoder]
    compacts: bool = False


@dataclass(frozen=True, slots=True)
class UpstreamSide:
    """A protocol's half of a translation. `knows_custom_tools`, and hosted tools: they are its own."""

    build: Callable[[Json, Toolbox, Target], Json]
    adapter: Callable[[Target], Adapter]
    knows_custom_tools: bool = False


def relayed(
    request: Callable[[Json, Target], Json],
    relay: Callable[[ModelCall, Target, Identity], Relay],
) -> Opener:
    """Where both sides speak the same protocol: the client's own body, with what the gateway owns."""

    def opened(
        call: ModelCall, target: Target, identity: Identity, *, drop_unsupported: bool
    ) -> Leg:
        try:
            return Leg(request(call.body, target), relay(call, target, identity))
        except BadRequest as error:
            raise renamed(error, call.named) from None

    return opened


def translated(client: ClientSide, upstream: UpstreamSide) -> Opener:
    """Where they differ: through the canonical body there, through deltas and steps back."""

    def opened(
        call: ModelCall, target: Target, identity: Identity, *, drop_unsupported: bool
    ) -> Leg:
        try:
            canonical = client.canonical(call.body)
            compacts = client.compacts or _is_triggered(call, canonical)
            asked = _summary(call, canonical) if compacts else canonical
            kept, dropped = parameters.prepare(asked, target.protocol, drop_unsupported)
            toolbox = Toolbox.of(kept, target)
            body = upstream.build(kept, toolbox, target)
        except BadRequest as error:
            raise renamed(
                error, lambda name: call.named(client.client_param(call.body, name))
            ) from None
        native = upstream.knows_custom_tools
        echoed = {name: value for name, value in canonical.items() if name not in dropped}
        assembler = Assembler(identity, echoed, toolbox, wraps_custom=not native)
        check_writable(assembler.start().response)
        encoder = client.encoder(call, identity)
        adapter = _rewritten(upstream.adapter(target), call, compacts=compacts)
        translation = Translation(adapter, assembler, encoder, target)
        names = [client.client_param(call.body, name) for name in dropped]
        return Leg(body, translation, (*names, *(() if native else toolbox.dropped)))

    return opened


def _summary(call: ModelCall, canonical: Json) -> Json:
    """Without the client's output limit, which is for answers, but with that of its budgets."""
    asked = summary_request(canonical)
    return asked if call.clamp is None else {**asked, "max_output_tokens": call.clamp}


def standardised(
    request: Callable[[Json, Target], Json], client: ClientSide, upstream: UpstreamSide
) -> Opener:
    """Where both sides speak the same protocol, and the upstream a dialect of it: the request goes out as a
    relay would send it, so that every parameter survives, and the answer is translated."""

    def opened(
        call: ModelCall, target: Target, identity: Identity, *, drop_unsupported: bool
    ) -> Leg:
        try:
            body = request(call.body, target)
            asked = client.canonical(call.body)
            toolbox = _as_written(asked)
        except BadRequest as error:
            raise renamed(
                error, lambda name: call.named(client.client_param(call.body, name))
            ) from None
        assembler = Assembler(identity, asked, toolbox, wraps_custom=False)
        check_writable(assembler.start().response)
        encoder = client.encoder(call, identity)
        return Leg(body, Translation(upstream.adapter(target), assembler, encoder, target))

    return opened


def unless_dialect(
    relay: Opener, standard: Opener, can_translate: Callable[[Json], bool] = lambda body: True
) -> Opener:
    """The relay; the translation where the provider's row asks for it and can hold the request's answer."""

    def opened(
        call: ModelCall, target: Target, identity: Identity, *, drop_unsupported: bool
    ) -> Leg:
        translates = target.quirks.translate and can_translate(call.body)
        chosen = standard if translates else relay
        return chosen(call, target, identity, drop_unsupported=drop_unsupported)

    return opened


def _as_written(asked: Json) -> Toolbox:
    """The tools of a request that goes out as its client wrote it: of a `tool_choice` that is not in the
    standard the upstream is the judge."""
    try:
        return Toolbox.of(asked, keeps_names=True)
    except BadRequest:
        return Toolbox.of({**asked, "tool_choice": None}, keeps_names=True)


def _is_triggered(call: ModelCall, canonical: Json) -> bool:
    return call.compaction is not None and is_triggered(canonical["input"])


def _rewritten(adapter: Adapter, call: ModelCall, *, compacts: bool) -> Adapter:
    """The adapter, through what a compaction makes of its deltas."""
    if compacts:
        assert call.compaction is not None
        return compacting(adapter, call.compaction.seal)
    return preceded(adapter, call.preceding) if call.preceding is not None else adapter


def check_writable(response: Json) -> None:
    """Part of the request goes back to the client only, and orjson reads what is too deep to write."""
    try:
        orjson.dumps(response)
    except orjson.JSONEncodeError:
        raise BadRequest("The body is nested too deep.") from None


def _listed(names: Iterable[str]) -> str:
    """Names as a header's value. They may be the client's words, so only harmless characters stay."""
    clean = (_NOT_IN_A_HEADER.sub("_", name) for name in dict.fromkeys(names))
    return ", ".join(clean)[:MAX_DROPPED_HEADER]
