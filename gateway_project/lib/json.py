"""Share the type of JSON objects, and serialise what clients sent."""

from __future__ import annotations

from typing import Any

import orjson

from gateway_project.lib.errors import BadRequest

Json = dict[str, Any]


def dumps(value: Any) -> bytes:
    """Serialise a decoded part of a request. Raise BadRequest if it is nested too deep.

    orjson reads JSON nested deeper than it writes, so a body that was read may still fail here.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise BadRequest("The body is nested too deeply.") from None
