"""Sums over the ledger by hour and by day (UTC), recomputed from its rows whenever those change."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from tenants.models.accounts import Tenant

# A histogram's bucket holds what took less than 1.4 times as long as what the bucket before it holds, from
# 1 ms on; the last has no upper end (tenants/billing/histograms.py).
BUCKETS = 40
HISTOGRAMS = ("duration", "first_token")


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
    """`requests` are what clients asked, each counted where its first call went; `calls` are upstream calls;
    `failed` those without an answer, `absorbed` those of them after which another target was tried;
    `estimated` those whose usage no provider reported; `unpriced` those without a price. `hits` of the calls
    were answered by the response cache, which saved `saved_nano`; their tokens are not among those summed."""

    tenant = models.ForeignKey(
        Tenant, models.DO_NOTHING, db_constraint=False, related_name="+", db_index=False
    )
    starts_at = models.DateTimeField()
    key_public_id = models.CharField(max_length=10, blank=True)
    alias = models.CharField(max_length=300)
    provider = models.CharField(max_length=63)
    upstream_model = models.CharField(max_length=200)
    requests = models.BigIntegerField(default=0, db_default=0)
    calls = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)
    absorbed = models.BigIntegerField(default=0, db_default=0)
    estimated = models.BigIntegerField(default=0)
    unpriced = models.BigIntegerField(default=0)
    hits = models.BigIntegerField(default=0, db_default=0)
    input_fresh = models.BigIntegerField(default=0)
    input_audio = models.BigIntegerField(default=0)
    cache_read = models.BigIntegerField(default=0)
    cache_write = models.BigIntegerField(default=0)
    cache_write_long = models.BigIntegerField(default=0)
    output_visible = models.BigIntegerField(default=0)
    output_audio = models.BigIntegerField(default=0)
    output_reasoning = models.BigIntegerField(default=0)
    units = models.JSONField(
        null=True,
        help_text=_("Quantities of units beside tokens, by name; empty where there are none."),
    )
    cost_nano = models.BigIntegerField(default=0)
    charge_nano = models.BigIntegerField(default=0)
    unfunded_nano = models.BigIntegerField(default=0)
    saved_nano = models.BigIntegerField(default=0, db_default=0)

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
        verbose_name = _("sum of usage by hour")
        verbose_name_plural = _("sums of usage by hour")
        ordering = ("-starts_at",)
        constraints = (
            models.UniqueConstraint(fields=UsageSum.SUBJECT, name="one_sum_per_hour_and_subject"),
        )
        indexes = (models.Index(fields=("starts_at",), name="usage_hours_by_time"),)

    def __str__(self) -> str:
        return f"{self.alias} {self.starts_at:%Y-%m-%d %H}:00"


class UsageDay(UsageSum):
    class Meta:
        verbose_name = _("sum of usage by day")
        verbose_name_plural = _("sums of usage by day")
        ordering = ("-starts_at",)
        constraints = (
            models.UniqueConstraint(fields=UsageSum.SUBJECT, name="one_sum_per_day_and_subject"),
        )
        indexes = (models.Index(fields=("starts_at",), name="usage_days_by_time"),)

    def __str__(self) -> str:
        return f"{self.alias} {self.starts_at:%Y-%m-%d}"


class PlainSum(models.Model):
    """Sums over all aliases and models: their columns are those of UsageSum, without units beside tokens."""

    tenant = models.ForeignKey(
        Tenant, models.DO_NOTHING, db_constraint=False, related_name="+", db_index=False
    )
    starts_at = models.DateTimeField()
    requests = models.BigIntegerField(default=0, db_default=0)
    calls = models.BigIntegerField(default=0, db_default=0)
    failed = models.BigIntegerField(default=0, db_default=0)
    absorbed = models.BigIntegerField(default=0, db_default=0)
    estimated = models.BigIntegerField(default=0, db_default=0)
    unpriced = models.BigIntegerField(default=0, db_default=0)
    hits = models.BigIntegerField(default=0, db_default=0)
    input_fresh = models.BigIntegerField(default=0, db_default=0)
    input_audio = models.BigIntegerField(default=0, db_default=0)
    cache_read = models.BigIntegerField(default=0, db_default=0)
    cache_write = models.BigIntegerField(default=0, db_default=0)
    cache_write_long = models.BigIntegerField(default=0, db_default=0)
    output_visible = models.BigIntegerField(default=0, db_default=0)
    output_audio = models.BigIntegerField(default=0, db_default=0)
    output_reasoning = models.BigIntegerField(default=0, db_default=0)
    cost_nano = models.BigIntegerField(default=0, db_default=0)
    charge_nano = models.BigIntegerField(default=0, db_default=0)
    unfunded_nano = models.BigIntegerField(default=0, db_default=0)
    saved_nano = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        abstract = True


class KeyDay(PlainSum):
    """Sums of a day of UTC by key: what reports by key add up."""

    key_public_id = models.CharField(max_length=10, blank=True)

    SUBJECT: ClassVar = ("tenant", "starts_at", "key_public_id")

    class Meta:
        verbose_name = _("sum of usage by day and key")
        verbose_name_plural = _("sums of usage by day and key")
        ordering = ("-starts_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "starts_at", "key_public_id"), name="one_sum_per_day_and_key"
            ),
        )
        indexes = (models.Index(fields=("starts_at",), name="key_days_by_time"),)

    def __str__(self) -> str:
        return f"{self.key_public_id} {self.starts_at:%Y-%m-%d}"


class EndUserSum(PlainSum):
    """Sums by end user, who is blank where a request named none. Those who used little of an hour or day with
    very many are one sum together, in which `end_user` is NULL (tenants/billing/end_user_sums.py)."""

    end_user = models.CharField(max_length=256, blank=True, null=True)  # noqa: DJ001  # NULL: many

    class Meta:
        abstract = True


class EndUserHour(EndUserSum):
    class Meta:
        verbose_name = _("sum of usage by hour and end user")
        verbose_name_plural = _("sums of usage by hour and end user")
        ordering = ("-starts_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "starts_at", "end_user"), name="one_sum_per_hour_and_end_user"
            ),
        )
        indexes = (models.Index(fields=("starts_at",), name="end_user_hours_by_time"),)

    def __str__(self) -> str:
        return f"{self.end_user} {self.starts_at:%Y-%m-%d %H}:00"


class EndUserDay(EndUserSum):
    class Meta:
        verbose_name = _("sum of usage by day and end user")
        verbose_name_plural = _("sums of usage by day and end user")
        ordering = ("-starts_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "starts_at", "end_user"), name="one_sum_per_day_and_end_user"
            ),
        )
        indexes = (models.Index(fields=("starts_at",), name="end_user_days_by_time"),)

    def __str__(self) -> str:
        return f"{self.end_user} {self.starts_at:%Y-%m-%d}"


class ModelSum(models.Model):
    """Sums over all keys, with what charts need: how calls ended, and how long those took that were answered.

    `requests`, `calls` and what follows them are as in UsageSum. `incomplete`, `client_gone`, `cancelled` and
    `abandoned` are calls that ended so; whatever else is no failure was answered in full. Each histogram is
    BUCKETS columns, `duration_00` and so on, so that percentiles of any sum of rows are sums of columns; an
    empty bucket is NULL, which takes no space.
    """

    tenant = models.ForeignKey(
        Tenant, models.DO_NOTHING, db_constraint=False, related_name="+", db_index=False
    )
    starts_at = models.DateTimeField()
    alias = models.CharField(max_length=300)
    provider = models.CharField(max_length=63)
    upstream_model = models.CharField(max_length=200)
    requests = models.BigIntegerField(default=0)
    calls = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)
    absorbed = models.BigIntegerField(default=0)
    estimated = models.BigIntegerField(default=0)
    unpriced = models.BigIntegerField(default=0)
    hits = models.BigIntegerField(default=0, db_default=0)
    incomplete = models.BigIntegerField(default=0)
    client_gone = models.BigIntegerField(default=0)
    cancelled = models.BigIntegerField(default=0)
    abandoned = models.BigIntegerField(default=0)
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
    saved_nano = models.BigIntegerField(default=0, db_default=0)

    SUBJECT: ClassVar = ("tenant", "starts_at", "alias", "provider", "upstream_model")

    class Meta:
        abstract = True


def histogram_columns(name: str) -> tuple[str, ...]:
    """Return the columns of a histogram, the quickest calls first."""
    return tuple(f"{name}_{bucket:02}" for bucket in range(BUCKETS))


for _histogram in HISTOGRAMS:
    for _column in histogram_columns(_histogram):
        ModelSum.add_to_class(_column, models.IntegerField(null=True))


class ModelHour(ModelSum):
    """Sums of an hour of UTC."""

    class Meta:
        verbose_name = _("sum of usage by hour and model")
        verbose_name_plural = _("sums of usage by hour and model")
        ordering = ("-starts_at",)
        constraints = (
            models.UniqueConstraint(fields=ModelSum.SUBJECT, name="one_sum_per_hour_and_model"),
        )
        indexes = (models.Index(fields=("starts_at",), name="model_hours_by_time"),)

    def __str__(self) -> str:
        return f"{self.alias} {self.starts_at:%Y-%m-%d %H}:00"


class ModelDay(ModelSum):
    """Sums of a day of UTC."""

    class Meta:
        verbose_name = _("sum of usage by day and model")
        verbose_name_plural = _("sums of usage by day and model")
        ordering = ("-starts_at",)
        constraints = (
            models.UniqueConstraint(fields=ModelSum.SUBJECT, name="one_sum_per_day_and_model"),
        )
        indexes = (models.Index(fields=("starts_at",), name="model_days_by_time"),)

    def __str__(self) -> str:
        return f"{self.alias} {self.starts_at:%Y-%m-%d}"


class SumsBackfill(models.Model):
    """Sums that are being computed for rows from before they existed, the newest day first: those named
    `sums` are there from `reached` on, and lack earlier days. There is no row once all are there."""

    sums = models.CharField(max_length=63, unique=True)
    reached = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.sums} from {self.reached:%Y-%m-%d}"
