"""End and renew keys as operators ask for it; wrong input is a ValidationError."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max

from gateway_project.lib.secret import Secret
from tenants.keys import keys
from tenants.models import ApiKey

MAX_REASON_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Rotated:
    """A rotated key. `old_secret_ends_at` is the last moment at which any older secret works."""

    key_id: str
    secret: Secret
    old_secret_ends_at: datetime | None


def revoke(key: ApiKey, reason: str) -> None:
    """End a key for good. Raise ValidationError when the reason is too long to keep."""
    if len(reason) > MAX_REASON_LENGTH:
        raise ValidationError({"reason": f"Write at most {MAX_REASON_LENGTH} characters."})
    keys.revoke(key, reason)


@transaction.atomic
def rotate(key: ApiKey, overlap: timedelta) -> Rotated:
    """Rotate a key. Raise ValidationError for a revoked key or an overlap out of range."""
    try:
        secret = keys.rotate(key, overlap)
    except keys.KeyRevoked as error:
        raise ValidationError({"id": str(error)}) from error
    except ValueError as error:
        raise ValidationError({"overlap": str(error)}) from error
    ends_at = key.secrets.aggregate(last=Max("expires_at"))["last"]
    return Rotated(key.public_id, secret, ends_at)
