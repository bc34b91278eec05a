"""Render an error as OpenAI's envelope, which clients of OpenAI's formats read."""

from __future__ import annotations

import orjson

from gateway_project.lib.errors import GatewayError


def openai_error(error: GatewayError) -> bytes:
    """Write the JSON body of an error response."""
    return orjson.dumps(error.body())
