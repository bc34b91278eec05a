"""What a worker needs to make a queued response: the request as the client sent it.

The history is not part of it, only the ids it continues from: a copy would grow with every turn of a chain,
and would still be used after the client deleted what it was copied from.
"""

from __future__ import annotations

from typing import Any

import orjson

from gateway_project.lib.errors import BadRequest
from responses_api.admission import Admitted, Request
from responses_api.cells import RESPONSES
from responses_api.doors import responses
from responses_api.doors.shapes import ModelCall

Json = dict[str, Any]


def packed(body: Json, admitted: Admitted) -> bytes:
    """`body` is the client's own; that it is stored was decided when it came. Raises BadRequest.

    The upstream is always asked for a stream: that can be ended at any moment, and its silence be noticed.
    """
    kept = {
        "request_id": admitted.request_id,
        "body": {**body, "store": True, "stream": True},
        "size": admitted.call.size,
        "headers": admitted.upstream_headers,
        "tokens": admitted.ticket.tokens,
    }
    try:
        return orjson.dumps(kept)
    except orjson.JSONEncodeError:  # orjson reads JSON nested deeper than it writes
        raise BadRequest("The body is nested too deep.") from None


def unpacked(packet: bytes) -> tuple[Request, ModelCall, int]:
    """The request as if it came in now, but for its caller, and for how many tokens limits were charged.
    Raises BadRequest."""
    kept = orjson.loads(packet)
    headers = [(name.encode(), value.encode("latin-1")) for name, value in kept["headers"].items()]
    request = Request(kept["request_id"], RESPONSES, {"headers": headers})
    call = responses.understood(kept["body"], kept["size"])
    charged = kept.get("tokens", 0)  # nothing in what was queued before there were limits
    return request, call, charged
