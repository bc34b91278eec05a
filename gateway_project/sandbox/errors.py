"""Word and wrap errors as each vendor does."""

import orjson

from gateway_project.lib.json import Json

_OPENAI = {
    400: ("invalid_request_error", None, "Invalid request: the sandbox was told to refuse it."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: (
        "invalid_request_error",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    404: (
        "invalid_request_error",
        "model_not_found",
        "The model does not exist or you do not have access to it.",
    ),
    405: ("invalid_request_error", "method_not_supported", "Method not allowed."),
    413: ("invalid_request_error", "request_too_large", "Request body is too large."),
    422: ("invalid_request_error", None, "The request was well-formed but could not be followed."),
    429: (
        "requests",
        "rate_limit_exceeded",
        "Rate limit reached on requests per min (RPM): Limit 3, Used 3, Requested 1.",
    ),
    500: (
        "server_error",
        None,
        "The server had an error while processing your request. Sorry about that!",
    ),
    503: (
        "server_error",
        "overloaded",
        "The engine is currently overloaded, please try again later",
    ),
    529: ("overloaded_error", "overloaded", "Overloaded"),
}

_ANTHROPIC = {
    400: ("invalid_request_error", "messages: the sandbox was told to refuse this request."),
    401: ("authentication_error", "invalid x-api-key"),
    403: (
        "permission_error",
        "Your API key does not have permission to use the specified resource.",
    ),
    404: ("not_found_error", "model: not found"),
    405: ("invalid_request_error", "Method Not Allowed"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    422: ("invalid_request_error", "The request was well-formed but could not be followed."),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit."),
    500: ("api_error", "Internal server error"),
    503: ("api_error", "Service temporarily unavailable"),
    529: ("overloaded_error", "Overloaded"),
}

QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. For more "
    "information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
)
UNREADABLE = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't "
    "using your HTTP library correctly. The API expects a JSON payload, but what was "
    "sent was not valid JSON.)"
)
CREDIT = "Your credit balance is too low to access the Anthropic API."


def openai_error(
    status: int, message: str | None = None, param: str | None = None, **fields: str | None
) -> Json:
    """Return the inner `error` object of OpenAI; `type` and `code` may be given by name."""
    kind, code, standard = _OPENAI[status]
    return {"message": message or standard, "type": kind, "param": param, "code": code} | fields


def anthropic_error(status: int, request_id: str, message: str | None = None) -> Json:
    kind, standard = _ANTHROPIC[status]
    error = {"type": kind, "message": message or standard}
    return {"type": "error", "error": error, "request_id": request_id}


def server_error() -> Json:
    """Return the error that OpenAI puts into a stream that breaks."""
    return openai_error(500)


def body(
    protocol: str,
    status: int,
    request_id: str,
    message: str | None = None,
    param: str | None = None,
    **fields: str | None,
) -> bytes:
    """Return an error body in the protocol's envelope."""
    if protocol == "anthropic":
        return orjson.dumps(anthropic_error(status, request_id, message))
    error = openai_error(status, message, param, **fields)
    return orjson.dumps({"error": error}, option=orjson.OPT_INDENT_2)


def missing(protocol: str, field: str, request_id: str) -> bytes:
    """Refuse a request that lacks a required field."""
    if protocol == "anthropic":
        return body(protocol, 400, request_id, f"{field}: Field required")
    if field == "model":
        return body(protocol, 400, request_id, "you must provide a model parameter")
    message = f"Missing required parameter: '{field}'."
    return body(protocol, 400, request_id, message, field, code="missing_required_parameter")
