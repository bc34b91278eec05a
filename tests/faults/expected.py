"""Tables of what clients see of each fault an upstream can have (docs/errors.md has the table)."""

from __future__ import annotations

MALFORMED = (502, "upstream_malformed")
CUT = (502, "upstream_cut")
LATE = (504, "upstream_timeout")
OVERLOADED = (503, "upstream_overloaded")
FAILED = (502, "upstream_error")
UNREACHABLE = (502, "upstream_unreachable")

# Fault: the HTTP error of a whole answer, and of a stream that has said nothing yet (docs/errors.md).
REFUSED: dict[str, tuple[int, str]] = {
    "400": (400, "upstream_rejected"),
    "401": (502, "upstream_auth_failed"),
    "403": (502, "upstream_auth_failed"),
    "404": (404, "model_not_found"),
    "413": (413, "request_too_large"),
    "422": (422, "upstream_rejected"),
    "429": (429, "rate_limit_exceeded"),
    "429-retry-after": (429, "rate_limit_exceeded"),
    "429-insufficient-quota": (429, "upstream_quota_exhausted"),
    "500": FAILED,
    "502": FAILED,
    "503": OVERLOADED,
    "529": OVERLOADED,
    "redirect": MALFORMED,
    "early-response": (413, "request_too_large"),
    "header-bomb": MALFORMED,
    "html": MALFORMED,
    "bad-json-body": MALFORMED,
    "silence": LATE,
    "200-then-silence": LATE,
    "headers-then-silence": LATE,
    "comments-only": LATE,
    "connect-refused": UNREACHABLE,
    "tls-fail": UNREACHABLE,
    "accept-silence": LATE,
    "cut-before-output": CUT,
    "cut-utf8": CUT,
    "error-first": OVERLOADED,
}
# Fault: the HTTP error of a whole answer, and the code that ends a stream after its first output.
BREAKS_OFF: dict[str, tuple[tuple[int, str], str]] = {
    "200-then-silence-after-n": (LATE, "upstream_timeout"),
    "error-mid": (OVERLOADED, "upstream_error"),
    "cut": (CUT, "upstream_cut"),
    "reset": (CUT, "upstream_cut"),
    "cut-crlf": (CUT, "upstream_cut"),
    "clean-eof": (MALFORMED, "upstream_cut"),
    "never-ending": (LATE, "upstream_timeout"),
}
# In a stream OpenAI's protocols have one code for all of their own trouble; Anthropic says which.
IN_A_STREAM = {
    "chat": "upstream_error",
    "responses": "upstream_error",
    "anthropic": "upstream_overloaded",
}
# Odd, but complete: both sorts of answer arrive whole.
COMPLETE = {
    "1xx",
    "cached-exclusive",
    "cached-inclusive",
    "crlf-split",
    "duplicate-terminal",
    "gzip",
    "negative-tokens",
    "no-usage",
    "slow-drip",
    "usage-decreasing",
    "usage-twice",
    "utf8-split",
    "wrong-content-type",
}
HAS_ITS_OWN_TEST = {"huge-event", "bad-json-frame", "reset-keepalive", "trailing-after-done"}
LATE_ONES = {fault for fault, error in REFUSED.items() if error == LATE}
NEEDS_PATIENCE = LATE_ONES | {fault for fault, (error, _) in BREAKS_OFF.items() if error == LATE}
# Usage that is not what the sandbox says it used.
MISCOUNTED = (
    "cached-inclusive",
    "cached-exclusive",
    "negative-tokens",
    "no-usage",
    "usage-decreasing",
)


def expected_of(protocol: str, fault: str, *, stream: bool) -> tuple[int, str]:
    """Anthropic has a type for what is too large, and no code."""
    if fault in {"413", "early-response"} and protocol == "anthropic":
        return 413, "upstream_rejected"
    if fault == "error-first" and stream and protocol != "anthropic":
        return FAILED
    return REFUSED[fault] if fault in REFUSED else BREAKS_OFF[fault][0]


def code_in_a_stream(protocol: str, fault: str) -> str:
    """Return the code that ends a stream which had begun."""
    if fault == "error-mid":
        return IN_A_STREAM[protocol]
    return REFUSED[fault][1] if fault in REFUSED else BREAKS_OFF[fault][1]
