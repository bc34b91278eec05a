"""Serve POST /chat/completions: OpenAI's Chat Completions (docs/wire.md 8)."""

from __future__ import annotations

from gateway_project.lib import ids
from responses_api.doors.chat import canonical, contents, request
from responses_api.doors.chat.encoder import ChatEncoder, end_failed_stream
from responses_api.doors.chat.parameters import PARAMETERS
from responses_api.doors.chat.relay import ChatRelay
from responses_api.doors.chat.replay import REPLAY
from responses_api.doors.door import Door, Native, Stores
from responses_api.doors.shapes import ModelCall
from responses_api.stream.upstream_reader import Identity
from routing.protocols.chat import PROTOCOL


def _encoder(call: ModelCall, identity: Identity) -> ChatEncoder:
    return ChatEncoder(identity, include_usage=call.include_usage)


DOOR = Door(
    name=request.NAME,
    path="chat/completions",
    new_id=ids.completion_id,
    parameters=PARAMETERS,
    decode=request.decode,
    refuse_foreign_ids=request.refuse_foreign_ids,
    contents=contents.walk,
    canonical=canonical.canonical,
    client_param=canonical.client_param,
    with_output_limit=request.with_output_limit,
    choices=PROTOCOL.choices,
    choices_param="n",
    example={"messages": [{"role": "user", "content": "Hello"}]},
    native=Native(
        protocol=PROTOCOL,
        relay=ChatRelay,
        terms=canonical.terms,
        can_standardise=canonical.has_one_answer,
    ),
    stores=Stores.COMPLETIONS,
    replay=REPLAY,
    encoder=_encoder,
    failed_stream=end_failed_stream,
    failure_marker=b'data: {"error":{',
    ends_whole=False,
)
