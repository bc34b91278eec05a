"""Read and write frames of the WebSocket mode: what clients send, and errors that are not events of a
response.

https://platform.openai.com/docs/guides/websocket-mode
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import orjson

from gateway_project.lib import structure
from gateway_project.lib.errors import (
    BadRequest,
    GatewayError,
    InvalidJson,
    InvalidStreamId,
    RequestTooComplex,
)
from gateway_project.lib.json import Json
from gateway_project.lib.structure import Caps, TooMuchStructure
from responses_api.doors.shapes import check, parse_object

CREATE = "response.create"
STEER = "response.steer"
_LANE = re.compile(r"[A-Za-z0-9_.-]{1,256}\Z")
_NOT_OF_THE_REQUEST = frozenset({"type", "stream_id", "generate"})
# Headers of an error that its frame repeats: they tell a client when to try again.
_TOLD = frozenset({"retry-after", "retry-after-ms", "x-should-retry"})
_OURS = "x-tollgate-"


class Envelope(msgspec.Struct):
    """The part of a frame that says what to do with it."""

    type: Any = None
    stream_id: Any = None

    def lane(self) -> str:
        """Return the frame's lane; empty for the one without a name. Raise InvalidStreamId."""
        name = self.stream_id
        if name is None:
            return ""
        if not (isinstance(name, str) and _LANE.match(name)):
            raise InvalidStreamId
        return name


class Options(msgspec.Struct):
    """The options that only a frame has."""

    generate: bool | None = None
    background: bool | None = None


class Steer(msgspec.Struct):
    previous_response_id: str
    input: str | list[Json]


def envelope(text: str) -> Envelope:
    """Read only the envelope, so that a frame that has to wait is not held in decoded form. Raise
    InvalidJson or BadRequest."""
    try:
        return _envelopes.decode(text)
    except msgspec.ValidationError:
        raise BadRequest("A frame must be a JSON object.") from None
    except msgspec.DecodeError as error:
        raise InvalidJson(f"The frame is not valid JSON: {error}.") from None
    except RecursionError:
        raise InvalidJson("The frame is nested too deeply.") from None


_envelopes = msgspec.json.Decoder(Envelope)


def request(body: Json) -> tuple[Json, bool]:
    """Return the request in a `response.create` frame, and whether an answer to it is to be generated. Raise
    BadRequest.

    `stream` is allowed and ignored: Codex sends it, and an answer here is always streamed.
    """
    check(body, Options)
    if body.get("background"):
        raise BadRequest(
            "'background' is not supported over a WebSocket; use POST /v1/responses.",
            param="background",
        )
    asked = {name: value for name, value in body.items() if name not in _NOT_OF_THE_REQUEST}
    return {**asked, "stream": True}, body.get("generate") is not False


async def parse(text: str, caps: Caps) -> Json:
    """Decode a frame. Raise BadRequest."""
    if len(text) > caps.values:
        try:
            await structure.check_between(caps, text.encode())
        except TooMuchStructure as error:
            raise RequestTooComplex(error.cap, error.most, of="frame") from None
    return parse_object(text, caps)


def _is_told(header: str) -> bool:
    return header in _TOLD or header.startswith(_OURS)


def error_frame(error: GatewayError, request_id: str, lane: str = "") -> str:
    """Return an error that is not an event of a response: nested, unlike in a stream."""
    told = error.body()["error"]
    headers = error.headers()
    frame: Json = {
        "type": "error",
        "status": error.http_status,
        "error": {
            "type": told["type"],
            "code": told["code"],
            "message": told["message"],
            "param": told["param"],
            "headers": {
                "x-request-id": request_id,
                **{name: text for name, text in headers.items() if _is_told(name)},
            },
        },
    }
    if lane:
        frame["stream_id"] = lane
    return orjson.dumps(frame).decode()


async def steer_failed(text: str, caps: Caps) -> str:
    """Return the answer to `response.steer`, with the input, which the client may use elsewhere. Raise
    BadRequest."""
    body = await parse(text, caps)
    check(body, Steer)
    frame = {
        "type": "response.steer.failed",
        "sequence_number": 0,
        "steer": {"previous_response_id": body["previous_response_id"], "input": body["input"]},
        "error": {
            "type": "invalid_request_error",
            "code": "steering_not_supported",
            "message": "A running response cannot be steered; send a new response.create.",
        },
    }
    return orjson.dumps(frame).decode()
