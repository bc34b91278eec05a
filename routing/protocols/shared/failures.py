"""Turn failed upstream responses into errors. The table is in docs/errors.md.

The provider's own words reach the client only where they help to mend the request (400, 413, 422), scrubbed
and cut; never those about our credential or the provider's own trouble.

The codes and words of all vendors are read whatever protocol an upstream speaks: a server that speaks one
often fronts another vendor and passes its words on.
"""

from __future__ import annotations

import contextlib
import math
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from gateway_project.lib import clock
from gateway_project.lib.errors import (
    UpstreamAuthFailed,
    UpstreamError,
    UpstreamMalformed,
    UpstreamModelMissing,
    UpstreamOverloaded,
    UpstreamQuotaExhausted,
    UpstreamRateLimited,
    UpstreamRejected,
)
from gateway_project.lib.log import scrub_text
from routing.route import ResolvedTarget

MAX_MESSAGE = 500
MAX_RETRY_AFTER_SECONDS = 600.0
_REJECTIONS = frozenset({400, 413, 422})
_OVERLOADS = frozenset({503, 529})
_QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_error"})
# Anthropic tells of an empty account as of a bad request (400, invalid_request_error).
_QUOTA_WORDS = ("credit balance is too low", "reached your specified API usage limits")
CONTEXT_LENGTH = "context_length_exceeded"
# Anthropic and vLLM, where OpenAI has a code that clients act on.
_TOO_LONG = ("prompt is too long", "maximum context length")
# OpenAI, of a request that no pause makes smaller.
_TOO_LARGE = "Request too large"
# OpenAI, of its flex tier alone.
_NO_FLEX = "resource_unavailable"
# OpenRouter, of a request whose output limit costs more than what is left.
_TOO_DEAR = "can only afford"
_CONTENT_CODES = frozenset(
    {"content_policy_violation", "content_filter", "bio_policy", "misalignment_policy_violation"}
)
# What OpenRouter says in `metadata` of a 403 that is about the input, not about the key.
_MODERATION = frozenset({"reasons", "flagged_input"})
_STATUS_OF_CODE = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "insufficient_quota": 429,
    "insufficient_credits": 402,
    "billing_error": 402,
    "overloaded_error": 529,
    "overloaded": 503,
    "server_is_overloaded": 503,
    "context_length_exceeded": 400,
    "invalid_prompt": 400,
    "invalid_request_error": 400,
    "content_policy_violation": 400,
    "bio_policy": 400,
    "misalignment_policy_violation": 400,
    "request_too_large": 413,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 504,
}
# Codes of a Response that failed over an image of the request (docs/wire.md 4.4).
_ABOUT_IMAGES = frozenset(
    {
        "empty_image_file", "failed_to_download_image", "image_content_policy_violation",
        "image_file_not_found", "image_file_too_large", "image_parse_error", "image_too_large",
        "image_too_small", "invalid_base64_image", "invalid_image", "invalid_image_format",
        "invalid_image_mode", "invalid_image_url", "unsupported_image_media_type",
    }
)  # fmt: skip


def of_response(
    target: ResolvedTarget, status: int, body: bytes, retry_after: str
) -> UpstreamError:
    """Read an HTTP answer that is not 200."""
    return of_error(target, status, error_in(body), _seconds(retry_after))


def of_event(target: ResolvedTarget, error: Any) -> UpstreamError:
    """Read an error inside a stream or a 200 body, where only its code or type tells the kind."""
    fields = error if isinstance(error, dict) else {"message": str(error)}
    for name in ("code", "status", "type"):
        if status := _status_of(fields.get(name)):
            return of_error(target, status, fields, None)
    return of_error(target, 500, fields, None)


def _status_of(code: Any) -> int | None:
    """Find the HTTP status behind a code; OpenRouter and Gemini give it as a number."""
    if isinstance(code, str):
        if code in _ABOUT_IMAGES:
            return 400
        found = _STATUS_OF_CODE.get(code)
        if found is not None or not code.isdecimal():
            return found
        code = int(code[:4])
    return code if isinstance(code, int) and 400 <= code < 600 else None


def of_error(
    target: ResolvedTarget, status: int, error: dict[str, Any], retry_after_seconds: float | None
) -> UpstreamError:
    """Read a status and the provider's error object."""
    found = _chosen(target, status, error, retry_after_seconds)
    found.upstream_status = status
    return found


def _chosen(
    target: ResolvedTarget, status: int, error: dict[str, Any], retry_after_seconds: float | None
) -> UpstreamError:
    provider = f"The provider {target.provider!r}"
    status = _correct_status(status, error)
    if status in _REJECTIONS:
        return _rejection(provider, status, error)
    if status in {401, 403}:
        return UpstreamAuthFailed(f"{provider} refused the gateway's credential.")
    if status == 404:
        missing = UpstreamModelMissing(
            f"{provider} does not offer the model behind this name.", param="model"
        )
        is_named = "model_not_found" in (error.get("code"), error.get("type"))
        # A tool of the request may name a model that is missing, too.
        missing.is_about_model = is_named and target.model in (_words(error) or target.model)
        return missing
    if status == 402:
        exhausted = UpstreamQuotaExhausted(
            f"The gateway's account with {target.provider!r} is exhausted."
        )
        exhausted.is_about_call = _TOO_DEAR in _words(error)
        return exhausted
    if status == 429:
        limited = UpstreamRateLimited(
            f"{provider} limits the rate of calls.", retry_after_seconds=retry_after_seconds
        )
        limited.is_about_call = _TOO_LARGE in _words(error) or error.get("code") == _NO_FLEX
        return limited
    if status in _OVERLOADS:
        return UpstreamOverloaded(
            f"{provider} is overloaded.", retry_after_seconds=retry_after_seconds
        )
    if 300 <= status < 500 and status != 408:
        return UpstreamMalformed(f"{provider} answered with the unexpected status {status}.")
    return UpstreamError(f"{provider} failed.")


def _correct_status(status: int, error: dict[str, Any]) -> int:
    """Correct the status to what happened, where a vendor uses one for two things."""
    if status == 429 and _is_about_quota(error):
        return 402
    words = error.get("message")
    if status == 400 and isinstance(words, str) and any(said in words for said in _QUOTA_WORDS):
        return 402
    if status == 403 and _is_moderated(error):
        return 400
    return status


def _is_moderated(error: dict[str, Any]) -> bool:
    metadata = error.get("metadata")
    return isinstance(metadata, dict) and bool(_MODERATION & metadata.keys())


def _is_about_quota(error: dict[str, Any]) -> bool:
    return any(
        value in _QUOTA_CODES
        for value in (error.get("code"), error.get("type"))
        if isinstance(value, str)
    )


def _rejection(provider: str, status: int, error: dict[str, Any]) -> UpstreamRejected:
    words = _words(error) or f"{provider} rejected the request."
    code, param = error.get("code"), error.get("param")
    if any(said in words for said in _TOO_LONG) and not isinstance(code, str):
        code = CONTEXT_LENGTH
    rejected = UpstreamRejected(
        scrub_text(words)[:MAX_MESSAGE],
        status=status,
        code=code if isinstance(code, str) else None,
        param=param if isinstance(param, str) else None,
    )
    is_named = isinstance(code, str) and code in _CONTENT_CODES
    rejected.is_about_content = is_named or _is_moderated(error)
    return rejected


def _words(error: dict[str, Any]) -> str:
    """Return what is said about the request. OpenRouter has the model's provider's own words in `raw`."""
    match error:
        case {"metadata": {"raw": str(raw)}}:
            inner = error_in(raw.encode()).get("message")
            if isinstance(inner, str) and inner:
                return inner
    words = error.get("message")
    return words if isinstance(words, str) else ""


def error_in(body: bytes) -> dict[str, Any]:
    """Find the error in a body, in any of the usual shapes; empty if there is none."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    if isinstance(parsed, list) and parsed:
        parsed = parsed[0]  # Gemini wraps its error in a list
    match parsed:
        case {"error": dict(error)}:
            return error
        case {"error": str(message)} | {"message": str(message)} | {"detail": str(message)}:
            return {"message": message}
        case _:
            return {}


def _seconds(retry_after: str) -> float | None:
    """Read Retry-After, in seconds or as an HTTP date (RFC 9110, 10.2.3)."""
    with contextlib.suppress(ValueError):
        seconds = float(retry_after)
        return None if math.isnan(seconds) else min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)
    with contextlib.suppress(ValueError, TypeError):
        moment = parsedate_to_datetime(retry_after)
        return min(max(moment.timestamp() - clock.timestamp(), 0.0), MAX_RETRY_AFTER_SECONDS)
    return None
