"""Define guardrails, and the record of what they did."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gateway_project.lib import clock, ids
from responses_api import validators
from routing.models import Alias, OwnedModel, Provider
from tenants.models import ApiKey, Tenant


def default_stages() -> list[str]:
    return ["input"]


class Guardrail(OwnedModel):
    """Something that may not pass, and what happens to it.

    It holds for every call in its scope: the platform's for all, a tenant's for its own, narrowed to an alias
    or a key where one is named. All that apply hold together: a row below another adds to it and takes
    nothing away. What is asked of outside (moderation, webhook) has an address of its own, or a provider; its
    secret is sealed for this row and for the address's host (enforcement/secrets.py).
    """

    class Kind(models.TextChoices):
        TERMS = "terms", _("Words and phrases")
        PATTERN = "pattern", _("Regular expressions")
        PII = "pii", _("Personal data")
        SECRETS = "secrets", _("Secrets and keys")
        TOOLS = "tools", _("Tools")
        INPUT_LIMITS = "input_limits", _("Limits of the input")
        MODERATION = "moderation", _("Moderation service")
        WEBHOOK = "webhook", _("Webhook")

    class Action(models.TextChoices):
        BLOCK = "block", _("Block")
        MASK = "mask", _("Mask")
        MONITOR = "monitor", _("Monitor only")

    class OnFailure(models.TextChoices):
        CLOSED = "closed", _("Closed: refuse the call")
        OPEN = "open", _("Open: let it through")

    alias = models.ForeignKey(
        Alias,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        help_text=_("Empty: whatever model is asked for."),
    )
    api_key = models.ForeignKey(
        ApiKey,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("API key"),
        help_text=_("Empty: all keys."),
    )
    name = models.CharField(
        max_length=63,
        validators=[validators.validate_guardrail_name],
        help_text=_("What clients, events and headers call it, such as no-card-numbers."),
    )
    kind = models.CharField(max_length=16, choices=Kind.choices)
    action = models.CharField(max_length=16, choices=Action.choices, default=Action.BLOCK)
    stages = models.JSONField(
        default=default_stages,
        validators=[validators.validate_guardrail_stages],
        help_text=_("What it looks at: the input, the output, the definitions of tools."),
    )
    config = models.JSONField(
        default=dict, blank=True, help_text=_("What it looks for, by kind (docs/guardrails.md).")
    )
    reversible = models.BooleanField(
        default=False,
        help_text=_("Number the masks of the input, and put the originals back into the answer."),
    )
    # RESTRICT, so that no guardrail goes with its service, but with its tenant.
    provider = models.ForeignKey(
        Provider,
        models.RESTRICT,
        null=True,
        blank=True,
        related_name="+",
        help_text=_("Of a moderation service: ask this provider, with its credential."),
    )
    url = models.CharField(
        "URL",
        max_length=500,
        blank=True,
        help_text=_("Where an external check is asked, unless a provider is."),
    )
    sealed_secret = models.TextField(blank=True, editable=False)
    secret_host = models.CharField(
        max_length=300,
        blank=True,
        editable=False,
        help_text=_("The host when the secret was entered; it is sent nowhere else."),
    )
    allow_private_network = models.BooleanField(
        default=False,
        help_text=_("Allow a private or loopback address. Only operators may change this."),
    )
    on_failure = models.CharField(
        max_length=8,
        choices=OnFailure.choices,
        default=OnFailure.CLOSED,
        help_text=_("What happens to a call while an external check cannot be asked."),
    )
    timeout_ms = models.PositiveIntegerField(
        default=2_000, validators=[MinValueValidator(50), MaxValueValidator(30_000)]
    )
    parallel = models.BooleanField(
        default=False,
        help_text=_(
            "Ask an external check of the input while the model is asked, and give nothing away "
            "before its verdict."
        ),
    )
    enabled = models.BooleanField(default=True)
    revision = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering = ("name", "pk")
        constraints = (
            models.UniqueConstraint(fields=("tenant", "name"), name="guardrail_name_per_tenant"),
            models.UniqueConstraint(
                fields=("name",),
                condition=Q(tenant=None),
                name="guardrail_name_of_platform",
                violation_error_message="The platform already has a guardrail of this name.",
            ),
            models.CheckConstraint(
                condition=Q(sealed_secret="") | Q(sealed_secret__startswith="v1."),
                name="guardrail_secret_is_sealed",
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def is_external(self) -> bool:
        return self.kind in {self.Kind.MODERATION, self.Kind.WEBHOOK}

    @property
    def host(self) -> str:
        """Return the host of its address; empty where it has none."""
        try:
            return urlsplit(self.url).netloc.rpartition("@")[2].lower()
        except ValueError:
            return ""

    def save(self, *args: Any, **options: Any) -> None:
        """Count the change, so that what was checked before can be told from what was not."""
        if not self._state.adding:
            self.revision += 1
            if options.get("update_fields") is not None:
                options["update_fields"] = {*options["update_fields"], "revision"}
        super().save(*args, **options)

    def clean(self) -> None:
        if self.api_key is not None and self.api_key.tenant_id != self.tenant_id:
            raise ValidationError({"api_key": gettext("Choose a key of the same tenant.")})
        for name, row in (("alias", self.alias), ("provider", self.provider)):
            if row is not None:
                self.check_may_use(row, name)
        self._check_address()

    def _check_address(self) -> None:
        if not self.is_external:
            self._check_local()
            return
        if self.provider is not None and self.kind != self.Kind.MODERATION:
            raise ValidationError({"provider": gettext("Only a moderation service has one.")})
        if bool(self.url) == (self.provider is not None):
            raise ValidationError({"url": gettext("An external check needs an address.")})
        if self.url:
            validators.validate_webhook_url(self.url)
            if not self.allow_private_network and not self.url.lower().startswith("https://"):
                raise ValidationError({"url": gettext("The address must begin with https://.")})

    def _check_local(self) -> None:
        for name in ("provider", "url", "parallel"):
            if getattr(self, name):
                raise ValidationError({name: gettext("Only an external check has this.")})


class GuardrailEvent(models.Model):
    """Something a guardrail did to a call: which rule, where and how often, and never the text.

    The guardrail stands here by number, name and revision, because events outlive it. `digest` is an HMAC of
    the first value found, keyed for its tenant: equal values have equal digests, and nothing leads back.
    """

    class Action(models.TextChoices):
        MONITORED = "monitored", _("Found and let through")
        MASKED = "masked", _("Found and masked")
        BLOCKED = "blocked", _("Found and blocked")
        SKIPPED = "skipped", _("Could not be asked, let through")
        UNAVAILABLE = "unavailable", _("Could not be asked, refused")

    class Stage(models.TextChoices):
        INPUT = "input", _("Input")
        OUTPUT = "output", _("Output")
        TOOLS = "tools", _("Tool definitions")

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    tenant = models.ForeignKey(
        Tenant, models.CASCADE, related_name="+", db_constraint=False, db_index=False
    )
    request_id = models.CharField(max_length=64)
    key_public_id = models.CharField(max_length=10, blank=True)
    at = models.DateTimeField(default=clock.now)
    guardrail_id = models.BigIntegerField()
    guardrail = models.CharField(max_length=63, help_text=_("The name of the guardrail."))
    is_platforms = models.BooleanField(
        default=False, help_text=_("The guardrail is the platform's.")
    )
    revision = models.PositiveIntegerField()
    stage = models.CharField(max_length=8, choices=Stage.choices)
    surface = models.CharField(
        max_length=64, blank=True, help_text=_("What was looked at, such as tool_output.")
    )
    rule = models.CharField(max_length=100, blank=True)
    action = models.CharField(max_length=16, choices=Action.choices)
    count = models.PositiveIntegerField(default=1)
    offset = models.PositiveIntegerField(
        null=True, help_text=_("Where the first one begins, in characters of its text.")
    )
    length = models.PositiveIntegerField(null=True, help_text=_("How long the first one is."))
    digest = models.CharField(max_length=64, blank=True)
    latency_ms = models.PositiveIntegerField(
        null=True, help_text=_("How long an external check took.")
    )
    failure = models.CharField(
        max_length=200, blank=True, help_text=_("Why an external check could not be asked.")
    )

    class Meta:
        ordering = ("-id",)  # the order in which they were made
        indexes = (
            models.Index(fields=("tenant", "id"), name="guardrail_events_of_tenant"),
            models.Index(fields=("tenant", "request_id"), name="guardrail_events_of_request"),
            models.Index(fields=("guardrail_id", "id"), name="guardrail_events_of_one"),
            models.Index(fields=("at",), name="guardrail_events_by_time"),
        )

    def __str__(self) -> str:
        return f"{self.guardrail} {self.action}"
