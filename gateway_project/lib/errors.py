"""Every error a client can be told about, in one tree. Raised anywhere, rendered where we speak.

    GatewayError
    ├── BadRequest 400 invalid_request            what the client sent cannot be used; names the field
    │   ├── InvalidJson 400 invalid_json
    │   ├── UnsupportedParameter 400 unsupported_parameter
    │   ├── PreviousResponseNotFound 400 previous_response_not_found
    │   ├── ConversationNotFound 400 conversation_not_found
    │   ├── ItemNotFound 400 item_not_found
    │   ├── RequestTooComplex 400 request_too_complex         more structure than a cap allows
    │   ├── ContextLengthExceeded 400 context_length_exceeded     more input than the model's window
    │   ├── InvalidEncryptedContent 400 invalid_encrypted_content damaged, or sealed for another tenant
    │   ├── ConflictingCredentials 400 conflicting_credentials
    │   ├── InvalidFields 400 invalid_fields          management API: every wrong field, by name
    │   ├── ContentPolicyViolation 400 content_policy_violation   a guardrail may not let it pass
    │   ├── UnpricedModel 400 model_not_priced        a budget cannot pay for what has no price
    │   ├── IdempotencyMismatch 422 idempotency_key_reused    the key was sent with another request
    │   ├── HostNotAllowed 400 host_not_allowed       a Host header that TOLLGATE_ALLOWED_HOSTS does not list
    │   ├── InvalidHttp 400 invalid_http              what came is not an HTTP request
    │   ├── HeadTooLarge 431 headers_too_large
    │   ├── RequestTimeout 408 request_timeout        head or body came too slowly
    │   ├── InvalidStreamId 400 invalid_stream_id             WebSocket: not a lane's name
    │   ├── StreamLimitReached 400 websocket_stream_limit_reached          one lane too many
    │   └── ConnectionLimitReached 400 websocket_connection_limit_reached  open for too long
    ├── Unauthenticated 401 invalid_api_key       one body, whatever is wrong with the key
    │   └── InvalidToken 401 invalid_token        management API: the same of a token
    ├── PermissionDenied 403 insufficient_scope   a good key that may not do this
    ├── NotFound 404 not_found
    │   └── ModelNotFound 404 model_not_found     unknown, not granted, or not offered upstream
    ├── MethodNotAllowed 405 method_not_allowed
    ├── Conflict 409 conflict                     management API: something else stands in the way
    ├── PreconditionFailed 412 precondition_failed    management API: it was changed since it was read
    ├── RateLimited 429 rate_limit_exceeded       too many requests, tokens or calls at the same time
    ├── TooManyConnections 429 too_many_connections   from one network address
    ├── BudgetExhausted 429 insufficient_quota    a budget does not pay for the call
    ├── IdempotentAnswerTooLarge 409 idempotent_answer_too_large
    ├── PayloadTooLarge 413 request_too_large
    ├── Internal 500 internal_error               our own fault; says nothing but the request id
    ├── Unavailable 503 service_unavailable       we cannot serve now
    │   ├── Draining 503 server_shutting_down
    │   ├── GuardrailUnavailable 503 guardrail_unavailable    a check that must be asked cannot be
    │   ├── RequestStopped 503 request_stopped    somebody who may do so ended it while it ran
    │   └── IdempotencyKeyLost 503 idempotency_key_lost       another request has taken its key over
    └── UpstreamError 502 upstream_error          the provider behind the alias failed
        ├── UpstreamUnreachable 502 upstream_unreachable      no connection; the call was never sent
        ├── UpstreamForbiddenAddress 502 upstream_address_forbidden
        ├── UpstreamAuthFailed 502 upstream_auth_failed       our credential was refused
        ├── UpstreamModelMissing 404 model_not_found
        ├── UpstreamRejected 400/413/422 upstream_rejected    the provider's own words, scrubbed
        ├── UpstreamRateLimited 429 rate_limit_exceeded
        ├── UpstreamQuotaExhausted 429 upstream_quota_exhausted
        ├── UpstreamOverloaded 503 upstream_overloaded
        ├── UpstreamMalformed 502 upstream_malformed          an answer outside its protocol
        ├── UpstreamCut 502 upstream_cut                      ended without saying so
        └── UpstreamTimeout 504 upstream_timeout              may have been billed: never retried

Wire form, everywhere: `{"error": {"message", "type", "param", "code"}}`. `type` uses OpenAI's names
(the OpenAI API's error reference); `code` is what programs should compare.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, ClassVar


class GatewayError(Exception):
    """Base. `message` is one sentence for the person who can fix it; `param` names the field.

    `retry` is what `x-should-retry` tells SDKs (None: the header is left out, their defaults apply);
    `retry_after_seconds` becomes `Retry-After` and `retry-after-ms`.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str] = "internal_error"
    retry: ClassVar[bool | None] = None
    another_target_may_do: ClassVar[bool] = False
    limit: str = ""  # which of ours refused it, in a word

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_seconds = retry_after_seconds
        self.told: dict[str, str] = {}  # headers beside those of its kind

    def body(self) -> dict[str, Any]:
        """Return the envelope that every OpenAI client understands."""
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }

    @property
    def http_status(self) -> int:
        return self.status

    def headers(self) -> dict[str, str]:
        """Return the response headers that belong to this error."""
        headers = dict(self.told)
        if self.retry is not None:
            headers["x-should-retry"] = "true" if self.retry else "false"
        if self.retry_after_seconds is not None:
            headers["retry-after"] = str(math.ceil(self.retry_after_seconds))
            headers["retry-after-ms"] = str(math.ceil(self.retry_after_seconds * 1000))
        return headers


class BadRequest(GatewayError):
    status, type, code = 400, "invalid_request_error", "invalid_request"


class InvalidJson(BadRequest):
    code = "invalid_json"


class UnsupportedParameter(BadRequest):
    code = "unsupported_parameter"


class RequestTooComplex(BadRequest):
    """The request exceeds a structural cap. `cap` is a key of `CAPS`, `most` its value, `of` what was
    examined.
    """

    code = "request_too_complex"

    def __init__(
        self, cap: str, most: int, *, of: str = "request", param: str | None = None
    ) -> None:
        what, setting = CAPS[cap]
        super().__init__(
            f"The {of} has more than {most} {what}; the limit is {setting}.",
            param=param,
        )


# What can be capped besides bytes: in words, and the setting that says how much.
CAPS = {
    "values": (
        "lists, objects and entries (text inside strings does not count)",
        "TOLLGATE_MAX_JSON_VALUES",
    ),
    "keys": ("object keys (text inside strings does not count)", "TOLLGATE_MAX_JSON_KEYS"),
    "depth": ("levels of nested lists and objects", "TOLLGATE_MAX_JSON_DEPTH"),
    "items": ("items or messages", "TOLLGATE_MAX_ITEMS"),
    "parts": ("content parts", "TOLLGATE_MAX_PARTS"),
    "tools": ("tools", "TOLLGATE_MAX_TOOLS"),
    "history": ("bytes of earlier conversation", "TOLLGATE_MAX_HISTORY_BYTES"),
}


class ContextLengthExceeded(BadRequest):
    code = "context_length_exceeded"


class InvalidEncryptedContent(BadRequest):
    code = "invalid_encrypted_content"


class ConflictingCredentials(BadRequest):
    code = "conflicting_credentials"


class PreviousResponseNotFound(BadRequest):
    """The response never existed, was deleted, has expired or belongs to another tenant: one answer for
    all.
    """

    code = "previous_response_not_found"

    def __init__(self) -> None:
        super().__init__(
            "The response named by 'previous_response_id' was not found: it was not stored, was deleted "
            "or has expired, or one that it builds on has. Send the whole conversation in 'input'.",
            param="previous_response_id",
        )


class ConversationNotFound(BadRequest):
    code = "conversation_not_found"

    def __init__(self) -> None:
        super().__init__(
            "The conversation named by 'conversation' was not found; create one with "
            "POST /v1/conversations.",
            param="conversation",
        )


class ItemNotFound(BadRequest):
    code = "item_not_found"

    def __init__(self, param: str) -> None:
        super().__init__(
            f"The item that '{param}' refers to was not found: it was not stored, was deleted or has "
            "expired. Send the item itself.",
            param=param,
        )


class InvalidFields(BadRequest):
    """A body or query of the management API cannot be used. `fields` are sentences by field; those of an
    empty name are about the whole. Of very many fields the first are told, and how many more there are.
    """

    code = "invalid_fields"
    MOST_TOLD = 100

    def __init__(self, fields: dict[str, list[str]]) -> None:
        if (more := len(fields) - self.MOST_TOLD) > 0:
            fields = dict(itertools.islice(fields.items(), self.MOST_TOLD))
            fields[""] = [*fields.get("", ()), f"{more} more fields are wrong."]
        self.fields = fields
        told = (
            f"{name}: {' '.join(sentences)}" if name else " ".join(sentences)
            for name, sentences in fields.items()
        )
        super().__init__(" ".join(told), param=next(iter(fields), None) or None)


class UnpricedModel(BadRequest):
    code = "model_not_priced"
    retry = False

    def __init__(self, model: str) -> None:
        super().__init__(
            f"The model {model!r} has no price, so a budget cannot pay for it. An operator can set a price "
            "or lift the budget.",
            param="model",
        )


class ContentPolicyViolation(BadRequest):
    """A guardrail found what may not pass. The message names the guardrail, and never the text."""

    code, retry = "content_policy_violation", False

    def __init__(self, guardrail: str, *, param: str | None = None) -> None:
        self.guardrail = guardrail
        super().__init__(
            f"The request was blocked by the guardrail {guardrail!r}.",
            param=param,
        )


class IdempotencyMismatch(BadRequest):
    status, code = 422, "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__(
            "This 'Idempotency-Key' was already used for a different request. Use a new key for each "
            "request, and the same key only to send the same request again.",
            param="Idempotency-Key",
        )


class HostNotAllowed(BadRequest):
    code = "host_not_allowed"

    def __init__(self, host: str) -> None:
        super().__init__(
            f"This server does not answer to the host {host[:100]!r}. If it is one of its names, list it in "
            "TOLLGATE_ALLOWED_HOSTS."
        )


class InvalidHttp(BadRequest):
    code = "invalid_http"


class HeadTooLarge(BadRequest):
    status, code = 431, "headers_too_large"


class RequestTimeout(BadRequest):
    """Head or body arrived too slowly; the connection is closed after this answer."""

    status, code = 408, "request_timeout"


class InvalidStreamId(BadRequest):
    code = "invalid_stream_id"

    def __init__(self) -> None:
        super().__init__(
            "'stream_id' must be 1 to 256 characters, each a letter, a digit, '_', '.' or '-'.",
            param="stream_id",
        )


class StreamLimitReached(BadRequest):
    code = "websocket_stream_limit_reached"

    def __init__(self, most: int) -> None:
        super().__init__(
            f"A connection can have at most {most} streams with an id; reuse one of them, or open another "
            "connection.",
            param="stream_id",
        )


class ConnectionLimitReached(BadRequest):
    code = "websocket_connection_limit_reached"

    def __init__(self, minutes: float) -> None:
        super().__init__(
            f"This connection has been open for {minutes:g} minutes, which is the limit; open a new one."
        )


class Unauthenticated(GatewayError):
    status, type, code = 401, "authentication_error", "invalid_api_key"

    def __init__(self) -> None:
        super().__init__(
            "Missing or invalid API key. Send a valid key as 'Authorization: Bearer tg_live_...'."
        )

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "www-authenticate": "Bearer"}


class InvalidToken(Unauthenticated):
    code = "invalid_token"

    def __init__(self) -> None:
        GatewayError.__init__(
            self,
            "Missing or invalid API token. Send a valid one as 'Authorization: Bearer tg_admin_...'; keys "
            "of the gateway open nothing here.",
        )


class PermissionDenied(GatewayError):
    status, type, code = 403, "permission_error", "insufficient_scope"


class NotFound(GatewayError):
    status, type, code = 404, "not_found_error", "not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class RateLimited(GatewayError):
    """A limit of ours is reached.

    The wording follows OpenAI's: Codex reads the pause from the message, SDKs read it from the headers.
    `wait_seconds=None` means that waiting does not help. `limit_headers` report how full the limits are.
    """

    status, type, code = 429, "rate_limit_error", "rate_limit_exceeded"

    def __init__(
        self,
        message: str,
        wait_seconds: float | None = None,
        limit_headers: dict[str, str] | None = None,
        limit: str = "other",
    ) -> None:
        if wait_seconds is not None:
            wait_seconds = math.ceil(wait_seconds * 1000) / 1000  # what is told is what is meant
            shown = f"{wait_seconds:.3f}".rstrip("0").rstrip(".")
            message = f"{message} Please try again in {shown}s."
        super().__init__(message, retry_after_seconds=wait_seconds)
        self._limit_headers = limit_headers or {}
        self.limit = limit

    def headers(self) -> dict[str, str]:
        never = {"x-should-retry": "false"} if self.retry_after_seconds is None else {}
        return {**self._limit_headers, **super().headers(), **never}


class TooManyConnections(GatewayError):
    status, type, code = 429, "rate_limit_error", "too_many_connections"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"Your network address has {limit} connections open, which is the limit; close some. (If a proxy "
            "is in between, list it in TOLLGATE_TRUSTED_PROXIES.)",
            retry_after_seconds=1,
        )


class BudgetExhausted(GatewayError):
    """A budget is exhausted. Rendered as OpenAI's error for an account without money, which no retry
    cures.
    """

    status, type, code = 429, "insufficient_quota", "insufficient_quota"
    retry = False
    limit = "budget"

    def __init__(self, budget: str, until: str) -> None:
        self.budget = budget
        super().__init__(
            f"Budget {budget!r} is exhausted: it cannot cover this request{until}. Request fewer tokens, or "
            "have the budget raised."
        )


class MethodNotAllowed(GatewayError):
    status, type, code = 405, "invalid_request_error", "method_not_allowed"

    def __init__(self, message: str, allowed: str) -> None:
        super().__init__(message)
        self.allowed = allowed

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "allow": self.allowed}


class Conflict(GatewayError):
    """Something else stands in the way of what was asked for."""

    status, type, code = 409, "invalid_request_error", "conflict"


class PreconditionFailed(GatewayError):
    status, type, code = 412, "invalid_request_error", "precondition_failed"

    def __init__(self) -> None:
        super().__init__(
            "It was changed since you read it: its ETag is not the one in 'If-Match'. Read it again.",
            param="If-Match",
        )


class IdempotentAnswerTooLarge(GatewayError):
    """Sent to requests that waited for the answer to the same call; sending it again would be charged
    again.
    """

    status, type, code = 409, "invalid_request_error", "idempotent_answer_too_large"
    retry = False

    def __init__(self) -> None:
        super().__init__(
            "The call with this 'Idempotency-Key' has completed, but its answer is too large to be given "
            "to another request. The key can be used again.",
            param="Idempotency-Key",
        )


class PayloadTooLarge(GatewayError):
    status, type, code = 413, "invalid_request_error", "request_too_large"


class Internal(GatewayError):
    def __init__(self) -> None:
        super().__init__(
            "The gateway failed to handle this request. Quote the x-request-id when you report it."
        )


class Unavailable(GatewayError):
    status, type, code = 503, "server_error", "service_unavailable"


class IdempotencyKeyLost(Unavailable):
    """Sent to a request whose process was stopped, or cut off from the database, for too long."""

    code = "idempotency_key_lost"

    def __init__(self) -> None:
        super().__init__(
            "Another request with this 'Idempotency-Key' has taken over the call; this one is not charged. "
            "Send it again to get that request's answer.",
            retry_after_seconds=1,
        )


class GuardrailUnavailable(Unavailable):
    """A guardrail that has to be asked cannot be, and lets nothing pass meanwhile."""

    code = "guardrail_unavailable"

    def __init__(self, guardrail: str) -> None:
        self.guardrail = guardrail
        super().__init__(
            f"The guardrail {guardrail!r} cannot be asked now, and nothing passes without it; try again.",
            retry_after_seconds=2,
        )


class RequestStopped(Unavailable):
    """A person ended the call. SDKs must not send it again by themselves: it would run once more."""

    code, retry = "request_stopped", False

    def __init__(self) -> None:
        super().__init__(
            "This request was stopped by an operator of the gateway, or by somebody of the key's tenant."
        )


class Draining(Unavailable):
    code = "server_shutting_down"

    def __init__(self) -> None:
        super().__init__(
            "This server is shutting down; send the request again.", retry_after_seconds=1
        )

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "connection": "close"}


class UpstreamError(GatewayError):
    """The provider failed. `another_target_may_do` says whether the alias's next target is tried;
    `upstream_status` is the status the provider answered with, or 0; `is_ours`: it was not even asked.
    """

    status, type, code = 502, "server_error", "upstream_error"
    another_target_may_do = True
    upstream_status = 0
    is_ours = False


class UpstreamUnreachable(UpstreamError):
    code = "upstream_unreachable"


class UpstreamForbiddenAddress(UpstreamError):
    code = "upstream_address_forbidden"
    retry = False


class UpstreamAuthFailed(UpstreamError):
    code = "upstream_auth_failed"
    retry = False


class UpstreamModelMissing(UpstreamError):
    """`is_about_model`: it is surely the model that is missing, and not something the request refers to."""

    status, type, code = 404, "not_found_error", "model_not_found"
    is_about_model = False


class UpstreamRejected(UpstreamError):
    """The provider refused the request itself; its status and (scrubbed) message help the client.
    `is_about_content`: by what it may not be asked, which another provider may answer.
    """

    type, code = "invalid_request_error", "upstream_rejected"
    another_target_may_do = False
    is_about_content = False

    def __init__(self, message: str, *, status: int, code: str | None, param: str | None) -> None:
        super().__init__(message, param=param)
        self._status = status
        self._upstream_code = code

    @property
    def http_status(self) -> int:
        return self._status

    @property
    def told_code(self) -> str:
        """Return the provider's own code, where it gave one."""
        return self._upstream_code or self.code

    def body(self) -> dict[str, Any]:
        body = super().body()
        body["error"]["code"] = self.told_code
        return body


class UpstreamRateLimited(UpstreamError):
    """`is_about_call`: by its size or the tier it asks for the request meets a limit that others do not."""

    status, type, code = 429, "rate_limit_error", "rate_limit_exceeded"
    is_about_call = False


class UpstreamQuotaExhausted(UpstreamError):
    """`is_about_call`: what is left does not pay for this request, but may for smaller ones."""

    status, type, code = 429, "rate_limit_error", "upstream_quota_exhausted"
    retry = False
    is_about_call = False


class UpstreamOverloaded(UpstreamError):
    status, code = 503, "upstream_overloaded"


class UpstreamMalformed(UpstreamError):
    code = "upstream_malformed"
    retry = False
    another_target_may_do = False


class UpstreamCut(UpstreamError):
    """`never_began`: before anything of the answer came."""

    code = "upstream_cut"
    never_began = False
    retry = False
    another_target_may_do = False


class UpstreamTimeout(UpstreamError):
    """`is_total`: the provider went on answering for longer than any call may take. `never_began`: nothing
    of its answer came."""

    status, code = 504, "upstream_timeout"
    is_total = False
    never_began = False
    retry = False
    another_target_may_do = False
