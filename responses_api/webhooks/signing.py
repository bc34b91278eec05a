"""Sign webhooks as Standard Webhooks and OpenAI's SDKs check them.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from gateway_project.lib import clock, ids
from gateway_project.lib.secret import Secret

PREFIX = "whsec_"
SECRET_BYTES = 32
LEAST_BYTES = 24


class UnusableSecret(ValueError):
    """A secret that is empty, short or not base64: anybody could have made its signatures."""


def new_secret() -> Secret:
    return Secret(PREFIX + base64.b64encode(ids.random_bytes(SECRET_BYTES)).decode())


def headers(event_id: str, body: bytes, secrets: Sequence[Secret]) -> dict[str, str]:
    """Return the three headers, signed now with each of the secrets. Raise UnusableSecret."""
    timestamp = int(clock.timestamp())
    signed = f"{event_id}.{timestamp}.".encode() + body
    signatures = [_signature(secret, signed) for secret in secrets]
    if not signatures:
        raise UnusableSecret("The endpoint has no secret to sign with.")
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def _signature(secret: Secret, signed: bytes) -> str:
    digest = hmac.digest(_key(secret), signed, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def _key(secret: Secret) -> bytes:
    text = secret.reveal()
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise UnusableSecret("The secret is not base64.") from error
    if not text.startswith(PREFIX) or len(key) < LEAST_BYTES:
        raise UnusableSecret(
            f"The secret is not {PREFIX!r} followed by at least {LEAST_BYTES} bytes."
        )
    return key
