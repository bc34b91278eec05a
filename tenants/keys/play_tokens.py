"""Sign and read the tokens that the console's playground calls with.

    tg_play_<key: 10 base62>_<expires: 8 hex><user: 16 hex><session: 40 hex>_<signature: 64 hex>

A token says who plays with which key, in which session, and until when. It is stored nowhere: the signature,
under a key derived from the installation's secret, is what makes it good, and whoever uses one must still be
who it says, with the same rights (tenants/sign_in/players.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

from gateway_project.lib import clock
from gateway_project.lib.secret import Secret

PREFIX = "tg_play_"
VALID_SECONDS = 15 * 60
_PATTERN = re.compile(
    rf"({PREFIX}([0-9A-Za-z]{{10}})_([0-9a-f]{{8}})([0-9a-f]{{16}})([0-9a-f]{{40}}))_([0-9a-f]{{64}})\Z"
)


@dataclass(frozen=True, slots=True)
class PlayToken:
    """The contents of a token that was signed here and has not run out."""

    key_public_id: str
    expires_at: int
    user_id: int
    session_id: str


def sign(key_public_id: str, user_id: int, session_id: str) -> tuple[Secret, int]:
    """Return a token, and the second at which it ends."""
    expires_at = int(clock.timestamp()) + VALID_SECONDS
    body = f"{PREFIX}{key_public_id}_{expires_at:08x}{user_id:016x}{session_id}"
    return Secret(f"{body}_{_signature(body)}"), expires_at


def read(text: str) -> PlayToken | None:
    """Return what a token says; None unless it is one, signed here, whose time has not run out."""
    if not text.startswith(PREFIX) or (match := _PATTERN.match(text)) is None:
        return None
    body, key, expires, user, session, signature = match.groups()
    if not constant_time_compare(signature, _signature(body)):
        return None
    token = PlayToken(key, int(expires, 16), int(user, 16), session)
    return token if clock.timestamp() < token.expires_at else None


def _signature(body: str) -> str:
    return salted_hmac(
        "tollgate.playground", body, secret=settings.SECRET_KEY, algorithm="sha256"
    ).hexdigest()
