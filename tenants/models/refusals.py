"""Define what the ledger keeps of requests that were refused before any call."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from tenants.models.accounts import Tenant


class RefusedRequest(models.Model):
    """A refused request, as its client was told. `id` is the request's own, whose calls would lie beside it.

    `tenant` is empty where the key was none that is known. `is_claimed`: the request named the key by its
    public id, but the key did not let it in.
    """

    id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(
        Tenant,
        models.DO_NOTHING,
        null=True,
        db_constraint=False,
        related_name="+",
        db_index=False,
    )
    key_id = models.BigIntegerField(null=True)
    key_public_id = models.CharField(max_length=10, blank=True)
    is_claimed = models.BooleanField(default=False)
    at = models.DateTimeField()
    route = models.CharField(max_length=24)
    model = models.CharField(
        max_length=300, blank=True, help_text=_("The name that was asked for.")
    )
    http_status = models.PositiveSmallIntegerField()
    code = models.CharField(max_length=100)
    message = models.CharField(max_length=500, help_text=_("The sentence its client got."))
    background = models.BooleanField(default=False)
    websocket = models.BooleanField(default=False)

    class Meta:
        ordering = ("-id",)
        indexes = (
            models.Index(fields=("at",), name="refusals_by_time"),
            models.Index(fields=("tenant", "at"), name="refusals_of_tenant_by_time"),
            models.Index(fields=("key_id", "at"), name="refusals_of_key_by_time"),
        )

    def __str__(self) -> str:
        return f"{self.id} {self.code}"


class RefusalHour(models.Model):
    """Requests refused within an hour (UTC), those that stand singly and those that were only counted."""

    tenant = models.ForeignKey(
        Tenant,
        models.DO_NOTHING,
        null=True,
        db_constraint=False,
        related_name="+",
        db_index=False,
    )
    starts_at = models.DateTimeField()
    key_public_id = models.CharField(max_length=10, blank=True)
    code = models.CharField(max_length=100)
    refusals = models.BigIntegerField(default=0)

    SUBJECT: ClassVar = ("tenant", "starts_at", "key_public_id", "code")

    class Meta:
        verbose_name = verbose_name_plural = _("hourly refusals")
        ordering = ("-starts_at",)
        constraints = (
            models.UniqueConstraint(
                Coalesce("tenant", 0),
                "starts_at",
                "key_public_id",
                "code",
                name="one_count_of_refusals_per_hour_and_subject",
            ),
        )
        indexes = (
            models.Index(fields=("starts_at",), name="refusal_hours_by_time"),
            models.Index(fields=("tenant", "starts_at"), name="refusal_hours_of_tenant"),
        )

    def __str__(self) -> str:
        return f"{self.code} {self.starts_at:%Y-%m-%d %H}:00"
