"""Say what a session is worth: when its person last proved who they are, and from where they came.

Listing and ending sessions is here too; `session_store.py` keeps them.
"""

from __future__ import annotations

from typing import Any

from allauth.account.signals import (
    authentication_step_completed,
    password_changed,
    password_reset,
    password_set,
)
from allauth.core import context
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, User
from django.contrib.auth.signals import user_logged_in
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.http import HttpRequest

from gateway_project.lib import clock
from tenants.access.addresses import address_of
from tenants.audit import events, sign_ins
from tenants.models import ConsoleSession
from tenants.sign_in import origin
from tenants.sign_in.session_store import ADDRESS, BEGAN, BROWSER, SessionStore, digest_of

PROVEN = "tollgate.proven"  # when they last gave a password, a code or a passkey
# A session in use is written to the database once in this time, not with every page.
TOUCH_SECONDS = 60


def is_proven(request: HttpRequest) -> bool:
    """Tell whether the person signed in, or confirmed that it is them, a short while ago."""
    proven: float = request.session.get(PROVEN, 0)
    return 0 <= clock.timestamp() - proven < settings.ACCOUNT_REAUTHENTICATION_TIMEOUT


def touch(request: HttpRequest) -> None:
    """Note that the session is in use, so that it does not end for want of requests."""
    session = request.session
    if not isinstance(session, SessionStore) or session.seen_at is None:
        return
    if (clock.now() - session.seen_at).total_seconds() >= TOUCH_SECONDS:
        session.touch()


def of(user: AbstractBaseUser) -> QuerySet[ConsoleSession]:
    """Return the person's sessions that have not ended."""
    return ConsoleSession.objects.filter(is_live(), user=user.pk)


def is_live() -> Q:
    """Return the condition that a session has not ended."""
    now = clock.now()
    return Q(expire_date__gt=now, seen_at__gt=now - settings.SESSION_IDLE)


def current_id(request: HttpRequest) -> str:
    """Return the id of the request's own session."""
    return digest_of(request.session.session_key or "")


def end(user: AbstractBaseUser, session_id: str) -> bool:
    """End one of the person's sessions; False if they have none of this id."""
    found = ConsoleSession.objects.filter(user=user.pk, pk=session_id).first()
    return found is not None and end_one(found)


@transaction.atomic
def end_one(session: ConsoleSession) -> bool:
    """End a session, somebody else's too, and record who did; False if it has ended meanwhile."""
    ended, _ = ConsoleSession.objects.filter(pk=session.pk).delete()
    if ended and session.user is not None:
        _record_end(session.user, {"address": session.address, "began_at": session.began_at})
    return bool(ended)


@transaction.atomic
def end_others(user: AbstractBaseUser, request: HttpRequest | None) -> int:
    """End the person's sessions but the request's own, and record how many."""
    rows = ConsoleSession.objects.filter(user=user.pk)
    if request is not None and request.session.session_key:
        rows = rows.exclude(pk=current_id(request))
    ended, _ = rows.delete()
    if ended:
        _record_end(user, {"count": ended})
    return ended


def _record_end(user: AbstractBaseUser, details: dict[str, Any]) -> None:
    for tenant_id in sign_ins.chains_of(user.pk):
        events.record("session.ended", tenant_id=tenant_id, row=user, details=details)


@receiver(user_logged_in)
def _begin(user: AbstractBaseUser, request: HttpRequest | None = None, **_: Any) -> None:
    if request is None or not hasattr(request, "session"):
        return
    session, now = request.session, clock.timestamp()
    origin.drop_if_anothers(session, user.pk)
    session[BEGAN] = session[PROVEN] = now
    session[ADDRESS] = address_of(request)
    session[BROWSER] = request.META.get("HTTP_USER_AGENT", "")[:200]


@receiver(authentication_step_completed)
def _prove(request: HttpRequest, reauthenticated: bool = False, **_: Any) -> None:
    """Note a confirmation. Steps of a sign-in that is not complete count for nothing."""
    if reauthenticated:
        request.session[PROVEN] = clock.timestamp()


@receiver(password_changed)
@receiver(password_set)
@receiver(password_reset)
def _end_of_old_password(request: HttpRequest, user: AbstractBaseUser, **_: Any) -> None:
    """End the other sessions: whoever knew only the old password is in none of them any more."""
    end_others(user, request)


@receiver(post_save, sender=User)
def _end_of_account(instance: User, **_: Any) -> None:
    """End the sessions of an account that may not sign in any more, whoever shut it."""
    if not instance.is_active:
        ConsoleSession.objects.filter(user=instance.pk).delete()


@receiver(post_save, sender=Authenticator)
def _end_without_factor(instance: Authenticator, created: bool, **_: Any) -> None:
    """End the sessions that began with less than signing in takes from now on."""
    if created:
        end_others(instance.user, context.request)
