"""What the processes of a gateway tell each other through the database they share."""

from __future__ import annotations

from django.db import models

from gateway_project.lib import clock


class KeyFingerprint(models.Model):
    """A key of the key files that this database has been used with: what it is, but not the key itself.

    Another host with other key files could read neither API keys nor credentials; by this it finds out
    before it serves (tenants/fingerprints.py).
    """

    class Kind(models.TextChoices):
        PEPPER = "pepper", "Pepper of API keys"
        ENCRYPTION = "encryption", "Key-encryption key"

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
    """When a process of this role was seen alive on a host for the last time (tenants/heartbeats.py)."""

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
