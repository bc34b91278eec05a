"""Make, rotate and revoke API keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Q

from gateway_project.lib import clock
from gateway_project.lib.secret import Secret
from tenants.keys import fingerprints, key_format, peppers
from tenants.models import ApiKey, KeySecret, Tenant, default_scopes

MAX_OVERLAP = timedelta(days=30)
DEFAULT_OVERLAP = timedelta(hours=24)


class KeyRevoked(ValueError):
    """The key was revoked and cannot be rotated."""


@transaction.atomic
def create(
    tenant: Tenant,
    name: str,
    *,
    all_aliases: bool = True,
    scopes: Sequence[str] | None = None,
    expires_at: datetime | None = None,
    created_by: AbstractBaseUser | None = None,
) -> tuple[ApiKey, Secret]:
    """Create a key and its secret, which is not kept and cannot be shown again."""
    key = ApiKey(
        tenant=tenant,
        name=name,
        all_aliases=all_aliases,
        scopes=default_scopes() if scopes is None else sorted(scopes),
        expires_at=expires_at,
        created_by=created_by,  # type: ignore[misc]  # any user model
    )
    key.full_clean()
    key.save()
    return key, add_secret(key)


def add_secret(key: ApiKey) -> Secret:
    """Give a key a further secret; the ones before it go on working."""
    fingerprints.confirm(fingerprints.PEPPER, peppers.keyring())
    secret = key_format.new_key(key.public_id)
    pepper_id, _ = peppers.keyring().current
    KeySecret.objects.create(
        api_key=key,
        digest=peppers.digest(secret),
        pepper_id=pepper_id,
        last_four=secret.last_four,
    )
    return secret


@transaction.atomic
def rotate(key: ApiKey, overlap: timedelta = DEFAULT_OVERLAP) -> Secret:
    """Make a new secret for the same key; the old ones end after `overlap` (0 to 30 days) at the latest."""
    if not timedelta(0) <= overlap <= MAX_OVERLAP:
        raise ValueError(f"The overlap must be between 0 and {MAX_OVERLAP.days} days.")
    if key.revoked_at is not None:
        raise KeyRevoked(f"The key {key.public_id} was revoked; create a new one.")
    ends_at = clock.now() + overlap
    older = key.secrets.filter(Q(expires_at=None) | Q(expires_at__gt=ends_at))
    older.update(expires_at=ends_at)
    return add_secret(key)


def revoke(key: ApiKey, reason: str = "") -> None:
    """End a key for good; workers refuse it within a second. Revoking twice keeps the first time."""
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(
        revoked_at=clock.now(), revoked_reason=reason
    )
    key.refresh_from_db()
