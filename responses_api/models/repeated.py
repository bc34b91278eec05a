"""Define the answers that are given again: to a repeated idempotency key, and from the cache."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from gateway_project.lib import clock
from responses_api.models.owned import TenantOwned
from tenants.models import Tenant


class IdempotentCall(TenantOwned):
    """The one call behind an Idempotency-Key, and its answer once there is one.

    While it runs, `owner` renews `lease_until`; a key whose owner died is free again.
    """

    class State(models.TextChoices):
        RUNNING = "running", _("Running")
        ANSWERED = "answered", _("Answered")
        FAILED = "failed", _("Failed: the key is free")

    key_digest = models.BinaryField(max_length=32)
    request_digest = models.BinaryField(max_length=32)
    state = models.CharField(max_length=16, choices=State.choices, default=State.RUNNING)
    owner = models.CharField(max_length=64)
    lease_until = models.DateTimeField()
    http_status = models.PositiveSmallIntegerField(default=0)
    headers = models.JSONField(default=dict, blank=True)
    answer = models.BinaryField(default=b"")
    created_at = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("tenant", "key_digest"), name="idempotency_key_once"),
        )
        indexes = (models.Index(fields=("expires_at",), name="idempotent_call_expiry"),)

    def __str__(self) -> str:
        return f"{self.tenant_id} {self.state}"


class CachedAnswer(TenantOwned):
    """An answer that is given again to equal requests until it expires (docs/cache.md).

    `key` is a digest of all that makes requests equal. The answer is sealed for its tenant and this key.
    `key_id` is the API key that asked for it; once that is revoked the answer is not given again. Neither
    that nor `alias_id` is a foreign key, so that writing an answer waits for no row of the configuration.
    """

    # Its index is part of that below.
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="+", db_index=False)
    key = models.BinaryField(primary_key=True, max_length=32)
    key_id = models.BigIntegerField()
    alias_id = models.BigIntegerField()
    generation = models.PositiveBigIntegerField(
        help_text=_("The number of the alias's purges when it was made.")
    )
    size = models.PositiveIntegerField(help_text=_("Bytes of the sealed answer."))
    sealed_answer = models.TextField()
    created_at = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField()

    class Meta:
        indexes = (
            # With the size, so that a tenant's sum is read from the index alone.
            models.Index(fields=("tenant", "created_at", "size"), name="cached_answer_of_tenant"),
            models.Index(fields=("expires_at",), name="cached_answer_expiry"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(sealed_answer__startswith="v1."), name="cached_answer_is_sealed"
            ),
        )

    def __str__(self) -> str:
        return f"{self.tenant_id} {bytes(self.key).hex()[:12]}"
