"""Define what the gateway must know of a client format: one value per format, called a door.

Each folder beside this file exports its door as `DOOR`; `registry.py` lists them. Nothing outside a door's
folder may ask which door it has: what differs is a field here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from gateway_project.lib.errors import GatewayError
from gateway_project.lib.json import Json
from gateway_project.lib.sse import COMMENT
from gateway_project.lib.structure import Caps
from responses_api.doors.replay import Replay
from responses_api.doors.shapes import ModelCall
from responses_api.guardrails import items
from responses_api.guardrails.reading import Visitor
from responses_api.stream.encoder import Encoder
from responses_api.stream.error_body import openai_error
from responses_api.stream.upstream_reader import Identity, UpstreamReader
from routing.protocols.shared import fields
from routing.protocols.shared.protocol import UpstreamProtocol
from routing.route import ResolvedTarget


class Stores(Enum):
    """The part of a call that is stored."""

    NOTHING = 0
    COMPLETIONS = 1  # a chat completion, on request only
    RESPONSES = 2  # the Responses API's state: chains, conversations, background, resumable streams


def _always(body: Json) -> bool:
    return True


def _one_choice(body: Json) -> int:
    return 1


def _refuse_nothing(call: ModelCall) -> None:
    return None


def _no_count(tokens: int) -> bytes:
    raise NotImplementedError("This door does not count tokens.")


def _same_name(body: Json, param: str) -> str:
    return param


@dataclass(frozen=True, slots=True)
class Native:
    """Say how a door passes calls through to upstreams that speak the client's own format.

    protocol         that format as upstreams speak it
    relay            make what reads the answer and changes only what the gateway owns
    path             the route upstream, where the door has another than the protocol's usual one
    request          make the client's body fit to be sent, where the protocol's own `prepare` does not
    takes_limit      the route takes a limit of output tokens
    else_translates  translate where the upstream lacks the route
    terms            read in canonical form what a request asks beside its content: where a provider speaks a
                     dialect (the quirk `translate`), its answer is then translated. None: it is relayed all
                     the same
    can_standardise  tell whether a translated answer can hold everything a body asks for
    """

    protocol: UpstreamProtocol
    relay: Callable[[ModelCall, ResolvedTarget, Identity], UpstreamReader]
    path: str = ""
    request: Callable[[Json, ResolvedTarget], Json] | None = None
    takes_limit: bool = True
    else_translates: bool = False
    terms: Callable[[Json], Json] | None = None
    can_standardise: Callable[[Json], bool] = _always


@dataclass(frozen=True, slots=True)
class Door:
    """Say how a client asks, and how its answer is written.

    Identity
      name                 what the log, the ledger and idempotency keys call it; never changed
      path                 the route, below /v1
      new_id               make the id of an answer
      parameters           the client's name for each canonical parameter it can send (docs/parameters.md)

    The request
      decode               check a body; raises BadRequest naming the field
      refuse_empty         raise BadRequest for a request with nothing to answer, its history included
      refuse_foreign_ids   raise UnsupportedParameter for the id of something a provider stores, which may be
                           another tenant's: body, and how many items of the input are history
      contents             walk through every text of a body, for guardrails (guardrails/reading.py)
      canonical            bring a body into the canonical form, a Responses request
      client_param         give the client's name for a field of the canonical body
      with_output_limit    make a body ask for at most so many tokens
      output_limit         read the most output tokens a body allows; None if it does not say
      choices              read how many answers a body asks for
      choices_param        the field that says so
      example              what a short request has beside its model, for people to copy
      forwarded_headers    prefixes of client headers that travel to upstreams of the client's format

    What the gateway does with it
      native               pass calls through to upstreams of the same format; None: translate always
      stores               the kind of thing that is stored of a call
      is_canonical         the body has the canonical form, so that `truncation` applies to it
      manages_context      `context_management` applies to it
      compacts             what is asked for is a summary of the conversation
      can_be_native_only   an alias may demand for it that upstreams speak its format
      replay               give an answer again to an equal request; None: its answers are never kept

    The answer
      encoder              make what writes a translated answer; None: no model is asked
      write_count          write a number of tokens as the answer, where no model is asked
      error                render an error as the body of an HTTP response
      keepalive            a sign of life before anything else was written
      failed_stream        end a stream in which only signs of life were sent: call, rendered error
      failure_marker       how a line of a stream begins that says it failed; empty: it never streams
      ends_whole           a failed stream still ends with a proper terminal event; otherwise its connection
                           is cut, so that nobody takes it for complete
    """

    name: str
    path: str
    decode: Callable[[bytes, Caps], ModelCall]
    refuse_foreign_ids: Callable[[Json, int], None]
    new_id: Callable[[], str]
    canonical: Callable[[Json], Json]
    with_output_limit: Callable[[Json, int], Json]
    failed_stream: Callable[[ModelCall, bytes], bytes]
    contents: Callable[[Json, Visitor], Json] = items.walk
    client_param: Callable[[Json, str], str] = _same_name
    encoder: Callable[[ModelCall, Identity], Encoder] | None = None
    write_count: Callable[[int], bytes] = _no_count
    native: Native | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    refuse_empty: Callable[[ModelCall], None] = _refuse_nothing
    output_limit: Callable[[Json], int | None] = fields.output_limit
    choices: Callable[[Json], int] = _one_choice
    choices_param: str = ""
    example: Json = field(default_factory=lambda: {"input": "Hello"})
    forwarded_headers: tuple[bytes, ...] = ()
    stores: Stores = Stores.NOTHING
    is_canonical: bool = False
    manages_context: bool = False
    compacts: bool = False
    can_be_native_only: bool = False
    replay: Replay | None = None
    error: Callable[[GatewayError], bytes] = openai_error
    keepalive: bytes = COMMENT
    failure_marker: bytes = b""
    ends_whole: bool = True

    @property
    def generates(self) -> bool:
        """Tell whether a model is asked."""
        return self.encoder is not None

    @property
    def speaks(self) -> str:
        """Name the protocol that is the client's own format; empty if there is none."""
        return self.native.protocol.name if self.native is not None else ""
