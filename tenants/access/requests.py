"""Tell what the person behind a request of the console may do.

An operator who acts as a tenant has that tenant's role and nothing else (tenants/members/support.py).
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.signals import user_logged_out
from django.dispatch import receiver
from django.http import HttpRequest

from tenants.access.access import Access, access_as
from tenants.members import support
from tenants.models import SupportSession
from tenants.sign_in import demands

SUPPORT_SESSION = "support_session"


def access(request: HttpRequest) -> Access:
    """Return what the person may do in this request; read once."""
    read: tuple[Any, Access] | None = getattr(request, "tenant_access", None)
    if read is None or read[0] is not request.user:  # somebody signs in during a request
        read = request.user, _read(request)
        request.tenant_access = read  # type: ignore[attr-defined]  # our own mark on it
    return read[1]


def support_session(request: HttpRequest) -> SupportSession | None:
    """Return the session in which the person acts as a tenant; None if they act as themselves."""
    access(request)
    found: SupportSession | None = getattr(request, "support_session", None)
    return found


def lost_support(request: HttpRequest) -> bool:
    """Tell whether the person believes to act as a tenant but does not any longer."""
    access(request)
    return bool(getattr(request, "lost_support", False))


@receiver(user_logged_out)
def _end_support(request: HttpRequest | None = None, **_: Any) -> None:
    """End what somebody did as a tenant when they sign out, so that its row says when it was over."""
    if request is not None and (session := support_session(request)) is not None:
        support.end(session)


def _read(request: HttpRequest) -> Access:
    user = request.user
    own = demands.access_in(request)
    if isinstance(user, AnonymousUser):
        return own
    key: int | None = request.session.get(SUPPORT_SESSION)
    if key is None:
        return own
    session = support.find(key, user) if own.is_operator else None
    if session is None:
        del request.session[SUPPORT_SESSION]
        request.lost_support = True  # type: ignore[attr-defined]  # our own mark on it
        return own
    request.support_session = session  # type: ignore[attr-defined]  # as above
    return access_as(session.tenant, session.role)
