"""Define the ledger: one row per upstream call, and how far the spools have been read into it."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from gateway_project.lib import clock
from tenants.models.accounts import Tenant
from tenants.token_classes import TOKEN_CLASSES, Quantities
from tenants.units import place


class UsageRow(models.Model):
    """Facts as values, never changed: a correction is a further row that names the one it corrects.

    `id` is the request's UUIDv7 with the number of the leg in its lowest 16 bits (tenants/ledger/row_ids.py),
    so that the legs of a request stand together and the table can be partitioned by time. Amounts are
    nano-dollars: `cost_nano` what the upstream costs us, `charge_nano` what the tenant is charged,
    `unfunded_nano` what it would have been charged beyond what its budgets had reserved, or for a call of
    which nothing came; `saved_nano` what an answer from the cache would have cost its tenant beyond what it
    did; the charges by class add up to `charge_nano`. `list_nano` is what budgets that count
    list prices took for it, by `list_version`. A missing price version means that there was no price; the
    amount is 0 then.
    """

    class Status(models.TextChoices):
        COMPLETED = "completed", _("Completed")
        INCOMPLETE = "incomplete", _("Incomplete")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled by us")
        CLIENT_GONE = "client_gone", _("The client left")
        ABANDONED = "abandoned", _("The process died")
        DEFERRED = "deferred", _("To be settled later")
        CORRECTION = "correction", _("Correction")

    class Source(models.TextChoices):
        PROVIDER = "provider", _("Reported by the provider")
        COUNTED = "counted", _("Counted by us")
        RESERVED = "reserved", _("Estimated when it was opened")
        NONE = "none", _("Nothing was used")

    class GuardrailOutcome(models.TextChoices):
        """The strongest thing that guardrails did to the call; blank where none looked at it."""

        PASSED = "passed", _("Nothing was found")
        MONITORED = "monitored", _("Found and let through")
        MASKED = "masked", _("Found and masked")
        BLOCKED = "blocked", _("Found and blocked")
        SKIPPED = "skipped", _("Could not be asked, let through")
        UNAVAILABLE = "unavailable", _("Could not be asked, refused")

    class CacheOutcome(models.TextChoices):
        """The outcome of the response cache; blank where it was not asked."""

        HIT = "hit", _("Answered from the cache")
        SIMILAR = "similar", _("Answered by a similar request's answer")
        MISS = "miss", _("Not in the cache")
        REFRESH = "refresh", _("Asked anew on request")

    id = models.UUIDField(primary_key=True)
    leg = models.PositiveIntegerField()
    tenant = models.ForeignKey(
        Tenant, models.DO_NOTHING, db_constraint=False, related_name="+", db_index=False
    )
    tenant_slug = models.CharField(max_length=63)
    key_id = models.BigIntegerField(null=True)
    key_public_id = models.CharField(max_length=10, blank=True)
    end_user = models.CharField(max_length=256, blank=True)
    tags = models.JSONField(default=dict)
    route = models.CharField(max_length=24)
    alias = models.CharField(max_length=300)
    requested_model = models.CharField(
        max_length=300,
        blank=True,
        default="",
        db_default="",
        help_text=_("What was asked for, where that is another name for the alias."),
    )
    provider = models.CharField(max_length=63)
    upstream_model = models.CharField(max_length=200)
    service_tier = models.CharField(max_length=32)
    status = models.CharField(max_length=16, choices=Status.choices)
    http_status = models.PositiveSmallIntegerField(default=0)
    error_code = models.CharField(max_length=100, blank=True)
    absorbed = models.BooleanField(
        default=False,
        db_default=False,
        help_text=_("It failed and another target was tried: no error of the request."),
    )
    guardrail_outcome = models.CharField(
        max_length=16, choices=GuardrailOutcome.choices, blank=True, default="", db_default=""
    )
    cache_outcome = models.CharField(
        max_length=16, choices=CacheOutcome.choices, blank=True, default="", db_default=""
    )
    saved_nano = models.BigIntegerField(
        default=0,
        db_default=0,
        help_text=_("What an answer from the cache would have been charged beyond its charge."),
    )
    streamed = models.BooleanField(default=False)
    background = models.BooleanField(default=False)
    websocket = models.BooleanField(default=False)
    opened_at = models.DateTimeField()
    ttft_ms = models.PositiveIntegerField(null=True)
    duration_ms = models.PositiveIntegerField(default=0)
    overhead_us = models.PositiveIntegerField(default=0)
    usage_source = models.CharField(max_length=8, choices=Source.choices)
    usage_anomaly = models.BooleanField(default=False)
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
        blank=True,
        help_text=_("Units beside tokens: by name the quantity, and its share of the charge."),
    )
    cost_version = models.BigIntegerField(null=True)
    charge_version = models.BigIntegerField(null=True)
    cost_nano = models.BigIntegerField(default=0)
    charge_nano = models.BigIntegerField(default=0)
    held_nano = models.BigIntegerField(
        null=True,
        help_text=_("What budgets held for it when it was opened; empty where none limited it."),
    )
    unfunded_nano = models.BigIntegerField(default=0)
    list_version = models.BigIntegerField(null=True)
    list_nano = models.BigIntegerField(
        default=0, db_default=0, help_text=_("What budgets that count list prices took for it.")
    )
    charge_input_fresh = models.BigIntegerField(default=0)
    charge_input_audio = models.BigIntegerField(default=0)
    charge_cache_read = models.BigIntegerField(default=0)
    charge_cache_write = models.BigIntegerField(default=0)
    charge_cache_write_long = models.BigIntegerField(default=0)
    charge_output_visible = models.BigIntegerField(default=0)
    charge_output_audio = models.BigIntegerField(default=0)
    charge_output_reasoning = models.BigIntegerField(default=0)
    corrects = models.UUIDField(null=True)
    reason = models.CharField(max_length=300, blank=True)
    actor = models.CharField(max_length=200, blank=True)
    spool = models.CharField(max_length=200, blank=True)
    recorded_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering = ("-id",)
        verbose_name = _("usage row")
        indexes = (
            models.Index(fields=("tenant", "opened_at"), name="usage_of_tenant_by_time"),
            models.Index(fields=("opened_at",), name="usage_by_time"),
            models.Index(
                fields=("corrects",),
                condition=models.Q(corrects__isnull=False),
                name="usage_corrections",
            ),
            models.Index(fields=("key_id", "opened_at"), name="usage_of_key_by_time"),
            # Of what did not simply succeed, which is little.
            models.Index(
                fields=("opened_at",),
                condition=~models.Q(status="completed"),
                name="usage_not_completed",
            ),
            models.Index(
                fields=("tenant", "opened_at"),
                condition=~models.Q(status="completed"),
                name="usage_not_completed_of_tenant",
            ),
            # Empty, and so free, while calls are for tokens alone.
            models.Index(
                fields=("tenant", "opened_at"),
                condition=models.Q(units__isnull=False),
                name="usage_with_units",
            ),
        )

    def __str__(self) -> str:
        return f"{self.alias}, {self.opened_at:%Y-%m-%d %H:%M:%S} UTC"

    @property
    def tokens(self) -> tuple[int, ...]:
        """Return the tokens in the order of TOKEN_CLASSES."""
        return tuple(getattr(self, name) for name in TOKEN_CLASSES)

    @property
    def quantities(self) -> Quantities:
        """Return quantities of units beside tokens in the registry's order, which the database does not
        keep.
        """
        stored = self.units or {}
        return tuple((name, stored[name][0]) for name in sorted(stored, key=place))

    @property
    def unit_charges(self) -> tuple[int, ...]:
        """Return their shares of the charge, in the same order."""
        stored = self.units or {}
        return tuple(stored[name][1] for name in sorted(stored, key=place))


class SpoolPosition(models.Model):
    """The position up to which one process's spool is read.

    `low_*` is the position of the oldest call that is not settled, from which a new ingester reads again;
    every call opened before `watermark_at` has its row.
    """

    spool = models.CharField(max_length=200, unique=True)
    host = models.CharField(max_length=200)
    file_number = models.PositiveIntegerField(default=1)
    offset = models.PositiveBigIntegerField(default=0)
    low_file_number = models.PositiveIntegerField(default=1)
    low_offset = models.PositiveBigIntegerField(default=0)
    unread_bytes = models.PositiveBigIntegerField(default=0)
    abandoned = models.PositiveBigIntegerField(default=0)
    watermark_at = models.DateTimeField()
    is_done = models.BooleanField(default=False)
    updated_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering = ("host", "spool")

    def __str__(self) -> str:
        return self.spool
