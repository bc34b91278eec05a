"""Tell who has a second factor, for everybody who needs no more of allauth than that."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from django.db.models import Exists, OuterRef, QuerySet

REAL_FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


def has_one(user_id: int) -> bool:
    """Tell whether the person is asked for a second factor when they sign in."""
    return bool(Authenticator.objects.filter(user_id=user_id, type__in=REAL_FACTORS).exists())


def with_factor(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Return these rows of people with `has_second_factor`, by the same query."""
    theirs = Authenticator.objects.filter(user=OuterRef("user"), type__in=REAL_FACTORS)
    found: QuerySet[Any] = rows.annotate(has_second_factor=Exists(theirs))
    return found
