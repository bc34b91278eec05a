"""Pack what a worker needs to make a queued response: the request as the client sent it.

The history is left out and only the ids it continues from are included: a copy would grow with every turn of
a chain, and would still be used after the client deleted the original.
"""

from __future__ import annotations

import orjson

from gateway_project.lib.json import Json, dumps
from responses_api.calls import trace_parts
from responses_api.calls.admission import Admitted, GenerationRequest
from responses_api.doors.registry import RESPONSES
from responses_api.doors.responses import request as responses
from responses_api.doors.shapes import ModelCall


def pack(body: Json, admitted: Admitted) -> bytes:
    """Pack the client's own `body`; whether it is stored was decided when it came. Raise BadRequest.

    The upstream is always asked for a stream, which can be ended at any moment and whose silence is noticed.
    """
    fields = {
        "request_id": admitted.request_id,
        "body": {**body, "store": True, "stream": True},
        "size": admitted.call.size,
        "headers": admitted.upstream_headers,
        "tokens": admitted.ticket.tokens,
    }
    fields["trace"] = trace_parts.run_headers()
    if admitted.guarded is not None:
        guardrails = admitted.guarded.guardrails
        if passed := guardrails.passed:
            fields["passed"] = {str(number): revision for number, revision in passed.items()}
        if found := guardrails.found:
            fields["found"] = found
    return dumps(fields)


def unpack(packet: bytes) -> tuple[GenerationRequest, ModelCall, int]:
    """Return the request as if it came in now, without its caller, and the tokens that rate limits were
    charged. Raise BadRequest."""
    fields = orjson.loads(packet)
    # Requests queued by versions without traces have none.
    sent = {**fields["headers"], **fields.get("trace", {})}
    headers = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
    request = GenerationRequest(fields["request_id"], RESPONSES, {"headers": headers})
    passed = fields.get("passed", {})  # of external guardrails, which are not asked and paid twice
    request.passed = {int(number): revision for number, revision in passed.items()}
    # What was masked for good is not found again, and what was asked outside is not asked again.
    request.found = fields.get("found", {})
    call = responses.parse(fields["body"], fields["size"])
    charged = fields.get("tokens", 0)  # missing in requests queued by versions without limits
    return request, call, charged
