"""Sums over the ledger by hour and by day (UTC), recomputed from its rows whenever those change."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from tenants.models.accounts import Tenant


class DirtyHour(models.Model):
    """An hour of a tenant in which rows appeared that its sums do not know yet. Each mark is a row of its
    own: who recomputes removes the marks it saw before it read, and no others."""

    tenant_id = models.BigIntegerField()
    hour = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=("hour", "tenant_id"), name="dirty_hours_in_order"),)

    def __str__(self) -> str:
        return f"{self.tenant_id} {self.hour:%Y-%m-%d %H}"


class UsageSum(models.Model):
    """`calls` are upstream calls; `failed` those without an answer; `estimated` those whose usage no provider
    reported; `unpriced` those without a price."""

    tenant = models.ForeignKey(
        Tenant, models.DO_NOTHING, db_constraint=False, related_name="+", db_index=False
    )
    starts_at = models.DateTimeField()
    key_public_id = models.CharField(max_length=10, blank=True)
    alias = models.CharField(max_length=300)
    provider = models.CharField(max_length=63)
    upstream_model = models.CharField(max_length=200)
    calls = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)
    estimated = models.BigIntegerField(default=0)
    unpriced = models.BigIntegerField(default=0)
    input_fresh = models.BigIntegerField(default=0)
    input_audio = models.BigIntegerField(default=0)
    cache_read = models.BigIntegerField(default=0)
    cache_write = models.BigIntegerField(default=0)
    cache_write_long = models.BigIntegerField(default=0)
    output_visible = models.BigIntegerField(default=0)
    output_audio = models.BigIntegerField(default=0)
    output_reasoning = models.BigIntegerField(default=0)
    cost_nano = models.BigIntegerField(default=0)
    charge_nano = models.BigIntegerField(default=0)
    unfunded_nano = models.BigIntegerField(default=0)

    SUBJECT: ClassVar = (
        "tenant",
        "starts_at",
        "key_public_id",
        "alias",
        "provider",
        "upstream_model",
    )

    class Meta:
        abstract = True


class UsageHour(UsageSum):
    class Meta:
        verbose_name = verbose_name_plural = "hourly usage"
        ordering = ("-starts_at",)
        constraints = (
            models.UniqueConstraint(fields=UsageSum.SUBJECT, name="one_sum_per_hour_and_subject"),
        )
        indexes = (models.Index(fields=("starts_at",), name="usage_hours_by_time"),)

    def __str__(self) -> str:
        return f"{self.alias} {self.starts_at:%Y-%m-%d %H}:00"


class UsageDay(UsageSum):
    class Meta:
        verbose_name = verbose_name_plural = "daily usage"
        ordering = ("-starts_at",)
        constraints = (
            models.UniqueConstraint(fields=UsageSum.SUBJECT, name="one_sum_per_day_and_subject"),
        )
        indexes = (models.Index(fields=("starts_at",), name="usage_days_by_time"),)

    def __str__(self) -> str:
        return f"{self.alias} {self.starts_at:%Y-%m-%d}"
