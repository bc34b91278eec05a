"""Store what a gateway's processes tell each other through the database they share."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from gateway_project.lib import clock


class KeyFingerprint(models.Model):
    """The fingerprint of a key that this database has been used with: it identifies the key without being
    it.

    Another host with other key files could read neither API keys nor credentials; this tells it so before
    it serves (tenants/keys/fingerprints.py).
    """

    class Kind(models.TextChoices):
        PEPPER = "pepper", _("Pepper of API keys")
        ENCRYPTION = "encryption", _("Key-encryption key")

    kind = models.CharField(max_length=16, choices=Kind.choices)
    key_id = models.CharField(max_length=16)
    digest = models.CharField(max_length=64)
    first_seen_at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("kind", "key_id"), name="one_fingerprint_per_key"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.key_id}"


class Heartbeat(models.Model):
    """The last time a process of this role was seen alive on a host (tenants/heartbeats.py)."""

    role = models.CharField(max_length=64)
    host = models.CharField(max_length=200)
    beat_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("role", "host"), name="one_heartbeat_per_role_and_host"
            ),
        )

    def __str__(self) -> str:
        return f"{self.role} on {self.host}"


class AppliedObject(models.Model):
    """A row that `manage.py apply` made, which `--prune` may therefore remove (tenants/configuration).

    Not a foreign key: the row may be of any table. Primary keys are not given twice, so that of a row which
    is gone means nothing.
    """

    section = models.CharField(max_length=32)
    object_id = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("section", "object_id"), name="applied_once"),
        )

    def __str__(self) -> str:
        return f"{self.section} {self.object_id}"
