"""Serve POST /responses/compact, which summarises a conversation (docs/wire.md 6.5)."""

from __future__ import annotations

from gateway_project.lib import ids
from responses_api.doors.compact import request
from responses_api.doors.compact.encoder import CompactEncoder
from responses_api.doors.compact.relay import CompactRelay
from responses_api.doors.door import Door, Native, Stores
from responses_api.doors.responses import canonical, foreign_ids
from responses_api.doors.responses import request as responses
from responses_api.doors.responses.encoder import end_failed_stream
from responses_api.doors.shapes import ModelCall
from responses_api.stream.upstream_reader import Identity
from routing.protocols.responses import PROTOCOL


def _encoder(call: ModelCall, identity: Identity) -> CompactEncoder:
    return CompactEncoder(identity, call.compaction.items if call.compaction is not None else [])


DOOR = Door(
    name=request.NAME,
    path="responses/compact",
    new_id=ids.response_id,
    decode=request.decode,
    refuse_empty=responses.refuse_empty,
    refuse_foreign_ids=foreign_ids.refuse_foreign_ids,
    canonical=canonical.canonical,
    client_param=canonical.client_param,
    with_output_limit=responses.with_output_limit,
    native=Native(
        protocol=PROTOCOL,
        relay=CompactRelay,
        path=request.PATH,
        request=request.request,
        takes_limit=False,
        else_translates=True,
    ),
    stores=Stores.RESPONSES,
    is_canonical=True,
    compacts=True,
    encoder=_encoder,
    failed_stream=end_failed_stream,
)
