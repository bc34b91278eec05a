"""Create endpoints and their secrets: sealed for their row, opened only to sign, shown once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from django.db import transaction

from gateway_project.lib import clock, ids, sealing
from gateway_project.lib.secret import Secret
from responses_api.models import WebhookEndpoint
from responses_api.webhooks import signing
from routing.credentials import BATCH, keyring
from tenants.keys import fingerprints
from tenants.models import Tenant

OVERLAP = timedelta(hours=24)


def create(
    tenant: Tenant, url: str, *, events: Iterable[str] = (), allow_private_network: bool = False
) -> tuple[WebhookEndpoint, Secret]:
    """Return a new endpoint and its secret. Raise ValidationError."""
    endpoint = WebhookEndpoint(
        id=ids.uuid7(),
        tenant=tenant,
        url=url,
        events=list(events),
        allow_private_network=allow_private_network,
    )
    secret = give_secret(endpoint)
    endpoint.full_clean()
    endpoint.save()
    return endpoint, secret


def give_secret(endpoint: WebhookEndpoint) -> Secret:
    """Seal a new secret into an (unsaved) row whose id and tenant are settled."""
    fingerprints.confirm(fingerprints.ENCRYPTION, keyring())
    secret = signing.new_secret()
    endpoint.sealed_secret = _seal(endpoint, "sealed_secret", secret)
    return secret


@transaction.atomic
def rotate(endpoint: WebhookEndpoint) -> Secret:
    """Return a new secret; for a day the old one signs as well, so that receivers can change over."""
    row = WebhookEndpoint.objects.select_for_update().get(pk=endpoint.pk)
    row.sealed_old_secret = _seal(row, "sealed_old_secret", _open(row, "sealed_secret"))
    row.old_secret_until = clock.now() + OVERLAP
    secret = give_secret(row)
    row.save(update_fields=["sealed_secret", "sealed_old_secret", "old_secret_until"])
    return secret


def signing_secrets(endpoint: WebhookEndpoint) -> tuple[Secret, ...]:
    """Return the secrets to sign with now, newest first. Raise SealError or KeyringError; never fails
    open."""
    secret = _open(endpoint, "sealed_secret")
    if endpoint.old_secret_until is None or endpoint.old_secret_until <= clock.now():
        return (secret,)
    return secret, _open(endpoint, "sealed_old_secret")


def rewrap_all() -> int:
    """Seal every endpoint's secrets with the current key, in batches; return the number changed. Safe to
    repeat."""
    current, _ = keyring().current
    changed, after = 0, UUID(int=0)
    while True:
        rows = WebhookEndpoint.objects.filter(pk__gt=after).order_by("pk")
        pks = list(rows.values_list("pk", flat=True)[:BATCH])
        if not pks:
            return changed
        changed += sum(_rewrap(pk, current) for pk in pks)
        after = pks[-1]


@transaction.atomic
def _rewrap(pk: UUID, current: str) -> int:
    row = WebhookEndpoint.objects.select_for_update().filter(pk=pk).first()
    if row is None:
        return 0
    old = [
        column
        for column in ("sealed_secret", "sealed_old_secret")
        if getattr(row, column) and sealing.key_id_of(getattr(row, column)) != current
    ]
    for column in old:
        setattr(row, column, _seal(row, column, _open(row, column)))
    row.save(update_fields=old)
    return len(old)


def _open(endpoint: WebhookEndpoint, column: str) -> Secret:
    return sealing.unseal(getattr(endpoint, column), _place(endpoint, column), keyring())


def _seal(endpoint: WebhookEndpoint, column: str, secret: Secret) -> str:
    return sealing.seal(secret, _place(endpoint, column), keyring())


def _place(endpoint: WebhookEndpoint, column: str) -> str:
    return f"responses_api_webhookendpoint|{column}|{endpoint.tenant_id}|{endpoint.pk}"
