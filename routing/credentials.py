"""Store credentials sealed for their row, and open them only to build a Target."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from gateway_project.lib import ids, sealing
from gateway_project.lib.sealing import SealError
from gateway_project.lib.secret import Secret
from routing.models import Credential, Provider
from tenants.keys import encryption, fingerprints
from tenants.models import Tenant

BATCH = 200
keyring = encryption.keyring


def create(
    provider: Provider, secret: Secret, *, tenant: Tenant | None = None, name: str = "default"
) -> Credential:
    """Store a secret for a provider, for the platform or for one tenant."""
    credential = Credential(id=ids.uuid7(), provider=provider, tenant=tenant, name=name)
    set_secret(credential, secret)
    credential.full_clean()
    credential.save()
    return credential


def set_secret(credential: Credential, secret: Secret) -> None:
    """Seal `secret` into the (unsaved) row, for the host its provider has now. Raise ForeignKeys."""
    fingerprints.confirm(fingerprints.ENCRYPTION, keyring())
    credential.host = credential.provider.host
    credential.sealed_secret = sealing.seal(secret, _place(credential), keyring())
    credential.last_four = secret.last_four


def reveal(credential: Credential) -> Secret:
    """Return a row's secret. Raise SealError or KeyringError; never fall open.

    A secret is entered for one host. Whoever may change a provider's address cannot have it sent to
    another: it has to be entered again.
    """
    if credential.host != credential.provider.host:
        raise SealError(
            f"The secret was stored for {credential.host!r}, but the provider is now at "
            f"{credential.provider.host!r}; enter it again."
        )
    return open_sealed(credential)


def open_sealed(credential: Credential) -> Secret:
    """Return a row's secret wherever its provider is now. Raise SealError or KeyringError."""
    return sealing.unseal(credential.sealed_secret, _place(credential), keyring())


def rewrap_all() -> int:
    """Seal every credential with the current key, in batches, and return how many changed. Safe to
    repeat.
    """
    current, _ = keyring().current
    changed, after = 0, UUID(int=0)
    while True:
        rows = list(Credential.objects.filter(pk__gt=after).order_by("pk")[:BATCH])
        if not rows:
            return changed
        changed += sum(_rewrap(row.pk, current) for row in rows)
        after = rows[-1].pk


@transaction.atomic
def _rewrap(pk: UUID, current: str) -> int:
    row = Credential.objects.select_for_update().filter(pk=pk).first()
    if row is None or sealing.key_id_of(row.sealed_secret) == current:
        return 0
    row.sealed_secret = sealing.seal(open_sealed(row), _place(row), keyring())
    row.save(update_fields=["sealed_secret"])
    return 1


def _place(credential: Credential) -> str:
    return place_of(credential.tenant_id, credential.pk, credential.host)


def place_of(tenant_id: int | None, pk: UUID, host: str) -> str:
    """Return the place that a secret is sealed for."""
    return f"routing_credential|sealed_secret|{tenant_id or 'platform'}|{pk}|{host}"
