"""Somebody who is signed in to the console of a running gateway."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User

from gateway_project.lib import clock
from tenants.models import Membership, Tenant
from tenants.sign_in.session_store import BEGAN, SessionStore, digest_of
from tenants.sign_in.sessions import PROVEN


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A person, and the cookie of their session."""

    user: User
    cookie: str

    @property
    def session_id(self) -> str:
        return digest_of(self.cookie)

    @property
    def headers(self) -> dict[str, str]:
        return {"cookie": f"{settings.SESSION_COOKIE_NAME}={self.cookie}"}


def sign_in(user: User, *, is_proven: bool = False) -> SignedIn:
    """Begin a session as signing in does, which a confirmation may just have been asked for."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session[BEGAN] = clock.timestamp()
    if is_proven:
        session[PROVEN] = clock.timestamp()
    session.create()
    assert session.session_key is not None
    return SignedIn(user, session.session_key)


def operator() -> SignedIn:
    return sign_in(User.objects.create_superuser("operator"))


def member(role: str, tenant: Tenant) -> SignedIn:
    user = User.objects.create_user(f"{role}-of-{tenant.slug}")
    Membership.objects.create(user=user, tenant=tenant, role=role)
    return sign_in(user)
