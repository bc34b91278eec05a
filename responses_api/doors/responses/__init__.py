"""Serve POST /responses: OpenAI's Responses API (docs/wire.md 3 to 5)."""

from __future__ import annotations

from gateway_project.lib import ids
from responses_api.doors.door import Door, Native, Stores
from responses_api.doors.responses import canonical, foreign_ids, request
from responses_api.doors.responses.encoder import ResponsesEncoder, end_failed_stream
from responses_api.doors.responses.parameters import PARAMETERS
from responses_api.doors.responses.relay import ResponsesRelay
from responses_api.doors.responses.replay import REPLAY
from responses_api.doors.shapes import ModelCall
from responses_api.stream.upstream_reader import Identity
from routing.protocols.responses import PROTOCOL


def _encoder(call: ModelCall, identity: Identity) -> ResponsesEncoder:
    return ResponsesEncoder(identity)


DOOR = Door(
    name=request.NAME,
    path="responses",
    new_id=ids.response_id,
    parameters=PARAMETERS,
    decode=request.decode,
    refuse_empty=request.refuse_empty,
    refuse_foreign_ids=foreign_ids.refuse_foreign_ids,
    canonical=canonical.canonical,
    client_param=canonical.client_param,
    with_output_limit=request.with_output_limit,
    # Headers that Codex means for OpenAI (docs/wire.md 10.2).
    forwarded_headers=(b"x-codex-", b"x-openai-", b"openai-beta", b"session-id", b"thread-id"),
    native=Native(protocol=PROTOCOL, relay=ResponsesRelay, terms=canonical.canonical),
    stores=Stores.RESPONSES,
    is_canonical=True,
    manages_context=True,
    can_be_native_only=True,
    replay=REPLAY,
    encoder=_encoder,
    failed_stream=end_failed_stream,
    failure_marker=b"event: response.failed\n",
)
