"""Tenants and their API keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from gateway_project.lib import clock, ids
from tenants import validators
from tenants.budgets import zones
from tenants.revision import RevisionedModel


def new_key_id() -> str:
    """Return the public part of a key, shown in the clear in logs and lists."""
    return ids.base62(10)


def default_scopes() -> list[str]:
    return sorted(validators.SCOPES)


class Tenant(RevisionedModel):
    """A customer, team or project: the owner of keys, aliases, credentials and spending."""

    class Status(models.TextChoices):
        ACTIVE = "active", _("Active")
        SUSPENDED = "suspended", _("Suspended: its keys are refused")

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=200)
    time_zone = models.CharField(
        max_length=64,
        default="UTC",
        validators=[validators.validate_time_zone],
        help_text=_(
            "Another one counts for a budget once its running period is over; the period that follows "
            "is then longer, never shorter."
        ),
    )
    # Which zone counts for budgets from when on (tenants/budgets/zones.py). Only `save` writes it, so that a
    # zone written in any other way moves no budget.
    zone_switches = models.JSONField(default=dict, editable=False)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.ACTIVE)
    allow_direct_targets = models.BooleanField(
        default=False,
        help_text=_("Keys may name a model as provider/model or provider@model, past the aliases."),
    )
    store_by_default = models.BooleanField(
        default=True,
        help_text=_("Keep a response whose request does not say whether to store it."),
    )
    retention_days = models.PositiveSmallIntegerField(
        default=30,
        validators=[MinValueValidator(1), MaxValueValidator(3650)],
        help_text=_(
            "Stored responses are deleted this many days after the last one of their chain."
        ),
    )
    shows_upstreams = models.BooleanField(
        default=True,
        help_text=_(
            "Its people see the platform's providers and models, and which of them answered a call; "
            "otherwise only the aliases."
        ),
    )
    requires_second_factor = models.BooleanField(
        default=False,
        help_text=_("Members see nothing of this tenant until they have set up a second factor."),
    )
    requires_identity_provider = models.BooleanField(
        default=False,
        help_text=_(
            "Members see nothing of this tenant unless they came through its identity provider."
        ),
    )
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.name

    @transaction.atomic
    def save(self, *args: Any, update_fields: Iterable[str] | None = None, **options: Any) -> None:
        if update_fields is None or "time_zone" in (update_fields := set(update_fields)):
            self.zone_switches = self._changed_switches()
            if update_fields is not None:
                update_fields |= {"zone_switches"}
        super().save(*args, update_fields=update_fields, **options)

    def _changed_switches(self) -> dict[str, Any]:
        """Return the stored row's switches, changed to the zone that this one names."""
        rows = Tenant.objects.select_for_update().filter(pk=self.pk)
        stored = rows.values_list("zone_switches", "time_zone").first() if self.pk else None
        kept, before = stored or ({}, self.time_zone)
        return zones.change(kept or zones.unchanged(before), self.time_zone, clock.timestamp())


class ApiKey(RevisionedModel):
    """A key of a tenant. Its secrets are rows of their own, so that two may overlap while it rotates."""

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="api_keys")
    public_id = models.CharField(max_length=10, unique=True, default=new_key_id, editable=False)
    name = models.CharField(max_length=200)
    scopes = models.JSONField(
        default=default_scopes, blank=True, validators=[validators.validate_scopes]
    )
    all_aliases = models.BooleanField(
        default=True,
        help_text=_(
            "May use every alias of its tenant and of the platform; otherwise only those granted."
        ),
    )
    allowed_networks = models.JSONField(
        default=list,
        blank=True,
        validators=[validators.validate_networks],
        help_text=_(
            'Addresses it may be used from, as CIDR, for example ["10.0.0.0/8"]; empty: any.'
        ),
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_reason = models.CharField(max_length=200, blank=True, editable=False)
    last_used_at = models.DateTimeField(
        null=True, editable=False, help_text=_("Reported by the ledger, some seconds late.")
    )
    created_at = models.DateTimeField(default=clock.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, editable=False
    )

    class Meta:
        ordering = ("tenant", "-created_at")
        verbose_name = _("API key")

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"


class KeySecret(RevisionedModel):
    """One secret of a key, as an HMAC-SHA-256 digest under a named pepper; the secret itself is not kept."""

    api_key = models.ForeignKey(ApiKey, models.CASCADE, related_name="secrets")
    digest = models.BinaryField(max_length=32, unique=True)
    pepper_id = models.CharField(max_length=16)
    last_four = models.CharField(max_length=4)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text=_("Set when a newer secret took its place.")
    )

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.CheckConstraint(condition=~Q(pepper_id=""), name="key_secret_names_its_pepper"),
        )

    def __str__(self) -> str:
        return f"••••{self.last_four}"
