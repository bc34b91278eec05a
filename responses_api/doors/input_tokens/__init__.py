"""Serve POST /responses/input_tokens, which counts a request's tokens and asks no model."""

from __future__ import annotations

import orjson

from gateway_project.lib import ids
from responses_api.doors.door import Door, Stores
from responses_api.doors.input_tokens import request
from responses_api.doors.responses import canonical, foreign_ids
from responses_api.doors.responses import request as responses
from responses_api.doors.responses.encoder import end_failed_stream


def _write_count(tokens: int) -> bytes:
    return orjson.dumps({"object": "response.input_tokens", "input_tokens": tokens})


DOOR = Door(
    name=request.NAME,
    path="responses/input_tokens",
    new_id=ids.response_id,
    decode=request.decode,
    refuse_empty=request.refuse_empty,
    refuse_foreign_ids=foreign_ids.refuse_foreign_ids,
    canonical=canonical.canonical,
    client_param=canonical.client_param,
    with_output_limit=responses.with_output_limit,
    stores=Stores.RESPONSES,
    is_canonical=True,
    write_count=_write_count,
    failed_stream=end_failed_stream,
)
