"""Post to an OTLP/HTTP collector from a thread, with the standard library: one request, one answer."""

from __future__ import annotations

import http.client
import math
import ssl
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import orjson
from msgspec import Struct

from gateway_project.lib.secret import Secret

TRACES_PATH = "/v1/traces"
TIMEOUT_SECONDS = 5.0
MAX_ANSWER_BYTES = 64 * 1024
# With these a collector asks to be sent the same again.
REPEATABLE = frozenset({429, 502, 503, 504})
MAX_RETRY_AFTER_SECONDS = 30.0
_OURS = frozenset({"content-type", "content-length", "host", "connection", "transfer-encoding"})


class OtlpAnswer(Struct, frozen=True):
    """The outcome of one post. `status` is 0 if there was no answer; `problem` is empty if all went well."""

    status: int
    problem: str = ""
    retry_after_seconds: float | None = None
    rejected: int = 0

    @property
    def is_repeatable(self) -> bool:
        return self.status == 0 or self.status in REPEATABLE


class OtlpEndpoint:
    """A place that traces are sent to. `headers` are secret: they say who we are."""

    def __init__(self, url: str, headers: Mapping[str, Secret]) -> None:
        """Raise ValueError for a URL that nothing can be sent to."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("it must look like http://collector:4318")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("it may hold no credential, query or fragment")
        path = parts.path.rstrip("/")
        self.path = path if path.endswith(TRACES_PATH) else path + TRACES_PATH
        if not self.path.isascii() or not self.path.isprintable() or " " in self.path:
            raise ValueError("its path must be percent-encoded")
        self._is_tls = parts.scheme == "https"
        self.host = parts.hostname
        self.port = parts.port or (443 if self._is_tls else 80)
        self._headers = headers
        self._tls: ssl.SSLContext | None = (
            None  # which takes long to make, and is made in our thread
        )

    def __str__(self) -> str:
        return f"{'https' if self._is_tls else 'http'}://{self.host}:{self.port}{self.path}"

    def post(self, body: bytes, timeout_seconds: float = TIMEOUT_SECONDS) -> OtlpAnswer:
        """Send a body and return what became of it, whatever that is."""
        connection = self._connection(timeout_seconds)
        try:
            headers = {name: value.reveal() for name, value in self._headers.items()}
            sent = {**headers, "content-type": "application/json", "connection": "close"}
            connection.request("POST", self.path, body, sent)
            response = connection.getresponse()
            return _answer(response, response.read(MAX_ANSWER_BYTES))
        except (OSError, http.client.HTTPException, ValueError) as error:
            return OtlpAnswer(0, type(error).__name__)  # its words may hold what we sent
        finally:
            connection.close()

    def _connection(self, timeout_seconds: float) -> http.client.HTTPConnection:
        if not self._is_tls:
            return http.client.HTTPConnection(self.host, self.port, timeout=timeout_seconds)
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return http.client.HTTPSConnection(
            self.host, self.port, timeout=timeout_seconds, context=self._tls
        )


def read_headers(text: str) -> dict[str, Secret]:
    """Read headers as OpenTelemetry writes them in a variable: `name=value,name=value`, percent-encoded.
    Raise ValueError, which does not quote a value."""
    found: dict[str, Secret] = {}
    for number, part in enumerate(filter(None, map(str.strip, text.split(","))), start=1):
        name, equals, value = part.partition("=")
        name, value = name.strip().lower(), unquote(value.strip())
        is_name = name.replace("-", "").replace("_", "").isalnum() and name.isascii()
        if not equals or not is_name or not (value.isascii() and value.isprintable()):
            raise ValueError(f"entry {number} must look like name=value")
        if name in _OURS:
            raise ValueError(f"entry {number} is {name!r}, which is not to be set")
        found[name] = Secret(value)
    return found


def _answer(response: http.client.HTTPResponse, body: bytes) -> OtlpAnswer:
    if not 200 <= response.status < 300:
        wait = _seconds(response.headers.get("retry-after", ""))
        return OtlpAnswer(response.status, f"status {response.status}", wait)
    return OtlpAnswer(response.status, rejected=_rejected(body))


def _seconds(retry_after: str) -> float | None:
    """Return the seconds that a Retry-After asks for, up to a limit; None if it is a date or nothing."""
    try:
        asked = float(retry_after)
    except ValueError:
        return None
    return min(asked, MAX_RETRY_AFTER_SECONDS) if math.isfinite(asked) and asked >= 0 else None


def _rejected(body: bytes) -> int:
    """Return how many spans a collector did not take, of those it was sent."""
    try:
        rejected = int(orjson.loads(body)["partialSuccess"]["rejectedSpans"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return 0
    return max(rejected, 0)
