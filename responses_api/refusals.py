"""Answers of upstreams that are none: what error stands behind them."""

from __future__ import annotations

from gateway_project.lib.errors import GatewayError, UpstreamMalformed
from routing.protocols import failures
from routing.transport import MAX_ERROR_BYTES, Answer


async def of_status(answer: Answer) -> GatewayError:
    """The error behind an HTTP status that is not 200."""
    try:
        body = await answer.body(MAX_ERROR_BYTES)
    except GatewayError:
        body = b""  # the status alone says enough
    return failures.of_response(answer.target, answer.status, body, answer.header("retry-after"))


async def no_stream(answer: Answer) -> GatewayError:
    """A 200 that is no event stream: the error it may hold, or that it is not what was asked for."""
    body = await answer.body(MAX_ERROR_BYTES)
    reported = failures.error_in(body)
    if reported:
        return failures.of_event(answer.target, reported)
    return UpstreamMalformed(
        f"The provider {answer.target.provider!r} answered {answer.content_type!r} instead of a stream."
    )
