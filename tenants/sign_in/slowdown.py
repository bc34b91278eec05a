"""Slow down guesses at one account's password, without ever locking its owner out.

After a few wrong passwords, the attempts at an account are looked at one after the other, some time
apart, however many addresses they come from. A browser from which the owner signed in before need not
queue, so nobody who guesses keeps them out (OWASP calls that a device cookie). Addresses are limited
elsewhere: tenants/keys/doorkeeper.py.
"""

from __future__ import annotations

import hashlib
import threading
from typing import Any

from django.contrib.auth.signals import user_login_failed
from django.core.cache import cache
from django.core.signing import BadSignature
from django.dispatch import receiver
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from gateway_project.lib import clock

FREE_FAILURES = 5
REMEMBER_SECONDS = 15 * 60
SPACING_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 8.0
KNOWN_COOKIE = "tollgate_known"
KNOWN_DAYS = 180
wait = threading.Event()  # never set: waiting for it is a sleep that a test can replace


class TooManyAtOnce(Exception):
    """So many attempts at this account are waiting that this one would wait too long."""


def take_turn(username: str) -> None:
    """Wait until an attempt at this account may be looked at. Raise TooManyAtOnce."""
    account = _account(username)
    if cache.get(f"{account}:failed", 0) < FREE_FAILURES:
        return
    now = clock.timestamp()
    turn = max(now, cache.get(f"{account}:turn", 0.0) + SPACING_SECONDS)
    if turn - now > LONGEST_WAIT_SECONDS:
        raise TooManyAtOnce
    cache.set(f"{account}:turn", turn, REMEMBER_SECONDS)
    if turn > now:
        wait.wait(turn - now)


def remember_browser(request: HttpRequest, response: HttpResponseBase, username: str) -> None:
    """Let this browser pass when somebody guesses at the account."""
    response.set_signed_cookie(
        KNOWN_COOKIE,
        _account(username),
        salt=KNOWN_COOKIE,
        max_age=KNOWN_DAYS * 24 * 60 * 60,
        secure=request.is_secure(),
        httponly=True,
        samesite="Lax",
        path="/console/",
    )


@receiver(user_login_failed)
def _count(credentials: dict[str, Any], **_: Any) -> None:
    key = f"{_account(str(credentials.get('username', '')))}:failed"
    cache.add(key, 0, REMEMBER_SECONDS)
    try:
        cache.incr(key)
    except ValueError:  # it ended in between
        cache.set(key, 1, REMEMBER_SECONDS)


def is_known(request: HttpRequest, username: str) -> bool:
    """Tell whether this browser was signed in to the account before."""
    try:
        known = request.get_signed_cookie(
            KNOWN_COOKIE, default="", salt=KNOWN_COOKIE, max_age=KNOWN_DAYS * 24 * 60 * 60
        )
    except BadSignature:
        return False
    return bool(known == _account(username))


def _account(username: str) -> str:
    """Return the key under which an account is counted; nobody's name stands in a cache or a cookie."""
    return f"sign-in:{hashlib.sha256(username.strip().lower().encode()).hexdigest()[:32]}"
