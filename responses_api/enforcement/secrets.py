"""Seal the secrets of external checks for their row and host, and open them only to ask.

Whoever may change an address cannot have the secret sent to another host: it has to be entered again.
"""

from __future__ import annotations

from django.db import transaction

from gateway_project.lib import sealing
from gateway_project.lib.sealing import SealError
from gateway_project.lib.secret import Secret
from responses_api.models import Guardrail
from tenants.keys import encryption, fingerprints

BATCH = 200
keyring = encryption.keyring


def set_secret(row: Guardrail, secret: Secret) -> None:
    """Seal a secret into a row that has its number, for the host it has now, and save it."""
    fingerprints.confirm(fingerprints.ENCRYPTION, keyring())
    row.secret_host = row.host
    row.sealed_secret = sealing.seal(secret, _place(row), keyring())
    row.save(update_fields=["sealed_secret", "secret_host"])


def reveal(row: Guardrail) -> Secret | None:
    """Return a row's secret; None where it has none. Raise SealError or KeyringError."""
    if not row.sealed_secret:
        return None
    if row.secret_host != row.host:
        raise SealError(
            f"The secret was stored for {row.secret_host!r}, but the address is now at {row.host!r}; "
            "enter it again."
        )
    return _open(row)


def rewrap_all() -> int:
    """Seal every secret with the current key, in batches; return the number changed. Safe to repeat."""
    current, _ = keyring().current
    changed, after = 0, 0
    while True:
        rows = Guardrail.objects.filter(pk__gt=after).exclude(sealed_secret="").order_by("pk")
        pks = list(rows.values_list("pk", flat=True)[:BATCH])
        if not pks:
            return changed
        changed += sum(_rewrap(pk, current) for pk in pks)
        after = pks[-1]


@transaction.atomic
def _rewrap(pk: int, current: str) -> int:
    row = Guardrail.objects.select_for_update().filter(pk=pk).first()
    if row is None or not row.sealed_secret or sealing.key_id_of(row.sealed_secret) == current:
        return 0
    row.sealed_secret = sealing.seal(_open(row), _place(row), keyring())
    row.save(update_fields=["sealed_secret"])
    return 1


def _open(row: Guardrail) -> Secret:
    return sealing.unseal(row.sealed_secret, _place(row), keyring())


def _place(row: Guardrail) -> str:
    return f"responses_api_guardrail|sealed_secret|{row.tenant_id or 0}|{row.pk}"
