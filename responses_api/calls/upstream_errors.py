"""Turn failed upstream responses into errors."""

from __future__ import annotations

from gateway_project.lib.errors import GatewayError, UpstreamMalformed
from routing.protocols import PROTOCOLS
from routing.protocols.shared import failures
from routing.upstream.transport import MAX_ERROR_BYTES, UpstreamResponse


async def of_status(response: UpstreamResponse) -> GatewayError:
    """Return the error behind an HTTP status that is not 200."""
    try:
        body = await response.body(MAX_ERROR_BYTES)
    except GatewayError:
        body = b""  # the status alone says enough
    read = PROTOCOLS[response.target.protocol].read_failure
    return read(response.target, response.status, body, response.header("retry-after"))


async def no_stream(response: UpstreamResponse) -> GatewayError:
    """Return the error of a 200 that is not an event stream: the error it holds, or that it is not what
    was asked for."""
    body = await response.body(MAX_ERROR_BYTES)
    reported = failures.error_in(body)
    if reported:
        return failures.of_event(response.target, reported)
    return UpstreamMalformed(
        f"The provider {response.target.provider!r} answered {response.content_type!r} instead of a stream."
    )
