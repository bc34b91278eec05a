"""Make something once for all requests with the same `Idempotency-Key` of a token."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from django.db import IntegrityError
from django.db.models import Model

from gateway_project.lib import clock
from gateway_project.lib.db import durable_transaction
from gateway_project.lib.errors import IdempotencyMismatch
from tenants.managed.resource import key_of
from tenants.managed.rows import Created
from tenants.models import ApiCreation

M = TypeVar("M", bound=Model)

KEPT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class MadeBefore:
    """Something an earlier request has made, by the key it is named with."""

    key: str


def create_once(
    token_id: int, idempotency_key: str, request: bytes, make: Callable[[], Created[M]]
) -> Created[M] | MadeBefore:
    """Call `make`, unless the same request has made something within a day. Raise IdempotencyMismatch, and
    what `make` raises: then the key is free again.
    """
    key_digest = hashlib.sha256(idempotency_key.encode()).digest()
    request_digest = hashlib.sha256(request).digest()
    try:
        with durable_transaction():
            rows = ApiCreation.objects.filter(token=token_id)
            rows.filter(created_at__lt=clock.now() - KEPT).delete()
            if (known := _known(token_id, key_digest, request_digest)) is not None:
                return known
            noted = ApiCreation.objects.create(
                token_id=token_id, key_digest=key_digest, request_digest=request_digest
            )
            made = make()
            noted.object_key = str(getattr(made.row, key_of(type(made.row))))
            noted.save(update_fields=["object_key"])
            return made
    except IntegrityError:
        # Another request with the key was faster.
        known = _known(token_id, key_digest, request_digest)
        if known is None:
            raise
        return known


def _known(token_id: int, key_digest: bytes, request_digest: bytes) -> MadeBefore | None:
    noted = ApiCreation.objects.filter(token=token_id, key_digest=key_digest).first()
    if noted is None:
        return None
    if bytes(noted.request_digest) != request_digest:
        raise IdempotencyMismatch
    return MadeBefore(noted.object_key)
