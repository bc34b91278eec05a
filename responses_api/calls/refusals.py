"""Record requests that are refused before any call: a log line, and a record for the ledger."""

from __future__ import annotations

from gateway_project.lib import clock
from gateway_project.lib.errors import GatewayError, Unauthenticated
from gateway_project.lib.log import scrub_text
from responses_api.calls.admission import Admitted, GenerationRequest
from responses_api.calls.ending import end_request
from responses_api.calls.outcome import refused_outcome
from responses_api.services import Services
from tenants.keys.authentication import claimed_id
from tenants.ledger.records import Refused

MAX_MESSAGE = 500
MAX_MODEL = 300


def record_refusal(
    services: Services,
    request: GenerationRequest,
    error: GatewayError,
    *,
    status: str = "refused",
    background: bool = False,
    claimed: str = "",
) -> None:
    """Record a request of which no Exchange was made. `background`: its client has left with the promise of
    an answer, so that nobody is sent an HTTP status now; `claimed` is the id of the key it came with then."""
    told = 0 if background else error.http_status
    end_request(services, request, refused_outcome(status, told, error.code), error)
    write_refusal(services, request, error, background=background, claimed=claimed)


def write_refusal(
    services: Services,
    known: GenerationRequest | Admitted,
    error: GatewayError,
    *,
    background: bool = False,
    claimed: str = "",
) -> None:
    """Write the ledger's record of a request that made no call."""
    caller, call = known.caller, known.call
    request_id = known.id if isinstance(known, GenerationRequest) else known.request_id
    refused = Refused(
        id=request_id.removeprefix("req_"),
        at_ms=int(clock.timestamp() * 1000),
        http_status=error.http_status,
        code=error.code,
        message=_sentence(error),
        route=known.door.name,
        tenant_id=caller.tenant_id if caller else 0,
        key_id=caller.key_id if caller else 0,
        key=caller.key_public_id if caller else "",
        claimed="" if caller else claimed or _claimed(known),
        model=_text(call.model, MAX_MODEL) if call else "",
        websocket=known.socket is not None,
        background=background or bool(call and call.body.get("background")),
    )
    services.refusals.write(refused)


def _claimed(known: GenerationRequest | Admitted) -> str:
    """Return the public id of the key that a stranger claims to have; never the rest of what was sent."""
    if not isinstance(known, GenerationRequest):
        return ""
    return claimed_id(known.scope["headers"]) or ""


def _sentence(error: GatewayError) -> str:
    """Return what the client was told. One sentence is the same for everybody, and shows what a key looks
    like."""
    is_fixed = isinstance(error, Unauthenticated)
    return error.message[:MAX_MESSAGE] if is_fixed else _text(error.message, MAX_MESSAGE)


def _text(text: str, most: int) -> str:
    """Return text from outside as a database can keep it, without what looks like a secret."""
    return scrub_text(text[: 2 * most]).replace("\0", "")[:most]
