"""Read who is signed in, with a query that is compiled once."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import auth
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare
from django.utils.functional import SimpleLazyObject

from gateway_project.lib.prepared import PreparedQuery

_USERS = PreparedQuery(lambda key: User.objects.filter(pk=key))


class SessionUserMiddleware(AuthenticationMiddleware):
    """Gives a request its user, as Django does and in the same two attributes."""

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        request.user = SimpleLazyObject(lambda: user_of(request))  # type: ignore[assignment]


def user_of(request: HttpRequest) -> User | AnonymousUser:
    """Return who is signed in. All but the plain case is left to Django: it ends sessions, and renews those
    that an older secret signed.
    """
    found: Any = getattr(request, "_cached_user", None)
    if found is None:
        found = _plain_user(request.session) or auth.get_user(request)
        request._cached_user = found  # type: ignore[attr-defined]  # where Django looks for it
    return found  # type: ignore[no-any-return]


def _plain_user(session: Any) -> User | None:
    key, signed = session.get(SESSION_KEY), session.get(HASH_SESSION_KEY)
    is_known = session.get(BACKEND_SESSION_KEY) in settings.AUTHENTICATION_BACKENDS
    if not (is_known and signed and str(key).isdecimal()):
        return None
    user = next(iter(_USERS.rows(int(key))), None)
    if user is None or not user.is_active:
        return None
    return user if constant_time_compare(signed, user.get_session_auth_hash()) else None
