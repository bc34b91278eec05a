"""Define tokens of the management API, and what was made by requests that may be repeated."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from gateway_project.lib import clock
from tenants import validators
from tenants.audit.querysets import RecordedModel
from tenants.models.accounts import Tenant, new_key_id


class ApiToken(RecordedModel):
    """A token of the management API: an operator's (no tenant), or one for a single tenant.

    It never may more than its maker may now (tenants/keys/api_tokens.py), and ends with them, and with the
    token that made it, if one did; without a maker it was made on the server's command line. The token itself
    is not kept, only a digest as of keys.
    """

    tenant = models.ForeignKey(
        Tenant,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="api_tokens",
        help_text=_("Empty: the platform's, for every tenant."),
    )
    public_id = models.CharField(max_length=10, unique=True, default=new_key_id, editable=False)
    name = models.CharField(max_length=200)
    scopes = models.JSONField(
        validators=[validators.validate_token_scopes],
        help_text=_(
            'What it may do, such as ["keys.view", "limits.*"], or ["*"]: all that you may.'
        ),
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    digest = models.BinaryField(max_length=32, unique=True)
    pepper_id = models.CharField(max_length=16)
    last_four = models.CharField(max_length=4)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text=_("To the minute.")
    )
    created_at = models.DateTimeField(default=clock.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
    )
    # The public id of the token that made it. No link: a platform's token makes tokens of tenants.
    made_by = models.CharField(max_length=10, blank=True, default="", db_default="", editable=False)
    # What the session had in which it was made (tenants/sign_in/token_demands.py).
    made_with_factor = models.BooleanField(default=False, editable=False)
    made_through = models.UUIDField(null=True, editable=False)  # an identity provider's id

    class Meta:
        ordering = ("tenant", "-created_at")
        verbose_name = _("API token")
        constraints = (
            models.CheckConstraint(condition=~Q(pepper_id=""), name="api_token_names_its_pepper"),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"


class ApiCreation(models.Model):
    """One thing that a token made with an `Idempotency-Key`, so that the same request makes it once."""

    token = models.ForeignKey(ApiToken, models.CASCADE, related_name="+", db_index=False)
    key_digest = models.BinaryField(max_length=32)
    request_digest = models.BinaryField(max_length=32)
    object_key = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("token", "key_digest"), name="api_creation_once"),
        )
        indexes = (models.Index(fields=("token", "created_at"), name="api_creation_by_age"),)

    def __str__(self) -> str:
        return self.object_key
