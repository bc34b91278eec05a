"""Define providers, their credentials and models, and the newest test of each."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gateway_project.lib import clock, ids
from routing import validators
from routing.models.owned import MAX_WEIGHT, OwnedModel
from routing.protocols import PROTOCOLS
from tenants.revision import RevisionedModel


def protocol_choices() -> list[tuple[str, str]]:
    """List what an upstream may speak."""
    return [(protocol.name, protocol.label) for protocol in PROTOCOLS.values()]


class Provider(OwnedModel):
    """An upstream: its protocol, its address, and the ways in which it differs from the protocol."""

    class AuthKind(models.TextChoices):
        BEARER = "bearer", _("Authorization: Bearer")
        X_API_KEY = "x-api-key", _("x-api-key header (Anthropic)")
        API_KEY = "api-key", _("api-key header (Azure)")
        NONE = "none", _("No credential")

    name = models.CharField(max_length=63, validators=[validators.validate_provider_name])
    vendor = models.CharField(
        max_length=63, blank=True, help_text=_("Which known vendor this row was made for; a label.")
    )
    protocol = models.CharField(max_length=16, choices=protocol_choices)
    base_url = models.CharField(
        max_length=500,
        validators=[validators.validate_base_url],
        help_text=_("Up to and including /v1, for example https://api.openai.com/v1."),
    )
    auth_kind = models.CharField(max_length=16, choices=AuthKind.choices, default=AuthKind.BEARER)
    quirks = models.JSONField(
        default=dict,
        blank=True,
        validators=[validators.validate_quirks],
        help_text=_('Known differences, for example {"no_stream_usage": true}.'),
    )
    allow_private_network = models.BooleanField(
        default=False, help_text=_("May be at a private or loopback address.")
    )
    allow_tenant_credentials = models.BooleanField(
        default=True,
        help_text=_(
            "Tenants may bring credentials of their own for it; calls with one cost the platform "
            "nothing. Switch it off where the upstream accepts any credential."
        ),
    )
    forward_trace_context = models.BooleanField(
        default=False,
        db_default=False,
        help_text=_(
            "Its calls carry the W3C trace context, traceparent and tracestate, so that its traces join "
            "those of the client and the gateway."
        ),
    )
    limits = models.JSONField(
        default=dict,
        blank=True,
        validators=[validators.validate_limits],
        help_text=_(
            'What each credential may do upstream, for example {"requests_per_minute": 500, '
            '"tokens_per_minute": 200000, "concurrency": 50}. Where little of it is left, others are '
            "asked first; nothing is refused."
        ),
    )
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering = ("name",)
        constraints = (
            models.UniqueConstraint(fields=("tenant", "name"), name="provider_name_per_tenant"),
            models.UniqueConstraint(
                fields=("name",),
                condition=Q(tenant=None),
                name="provider_name_of_platform",
                violation_error_message="The platform already has a provider of this name.",
            ),
        )

    def takes_credentials_of(self, tenant_id: int | None) -> bool:
        """Tell whether a call may be sent with a credential of this tenant."""
        return tenant_id == self.tenant_id or (
            self.tenant_id is None and self.allow_tenant_credentials
        )

    @property
    def host(self) -> str:
        """Return host and port as they stand in the base URL."""
        return urlsplit(self.base_url).netloc.lower()

    def __str__(self) -> str:
        return self.name


class Credential(OwnedModel):
    """A secret for a provider, sealed for this very row (routing/credentials.py). Write-only.

    Enabled ones of one provider and one owner are a pool among which calls are spread. A tenant may bring
    its own for a provider of the platform; they take precedence over the platform's, and never mix.
    """

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    provider = models.ForeignKey(Provider, models.CASCADE, related_name="credentials")
    name = models.CharField(max_length=200, default="default")
    host = models.CharField(
        max_length=300,
        editable=False,
        help_text=_("The provider's host when the secret was entered; it is sent nowhere else."),
    )
    sealed_secret = models.TextField(editable=False)
    last_four = models.CharField(max_length=4, blank=True, editable=False)
    weight = models.PositiveSmallIntegerField(
        default=100,
        validators=[MaxValueValidator(MAX_WEIGHT)],
        help_text=_(
            "Its share of the calls among the credentials of the provider, 0 to 1000. 0: only when all "
            "others have failed."
        ),
    )
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering = ("provider", "-created_at")
        constraints = (
            # A plain text written past our code must not be taken for a sealed one.
            models.CheckConstraint(
                condition=Q(sealed_secret__startswith="v1."), name="credential_secret_is_sealed"
            ),
        )

    def clean(self) -> None:
        if self.provider_id is None:
            return
        self.check_may_use(self.provider, "provider")
        if not self.provider.takes_credentials_of(self.tenant_id):
            raise ValidationError(
                {"provider": gettext("This provider does not accept tenants' credentials.")}
            )

    def __str__(self) -> str:
        return f"{self.provider} · {self.name} ••••{self.last_four}"


class ProviderModel(RevisionedModel):
    """A model a provider offers, under the provider's own name for it."""

    provider = models.ForeignKey(Provider, models.CASCADE, related_name="provider_models")
    upstream_id = models.CharField(max_length=200)
    context_window = models.PositiveIntegerField(null=True, blank=True, help_text=_("Tokens."))
    max_output_tokens = models.PositiveIntegerField(
        null=True, blank=True, help_text=_("Default limit of an answer, in tokens.")
    )
    capabilities = models.JSONField(
        default=list, blank=True, validators=[validators.validate_capabilities]
    )

    class Meta:
        ordering = ("provider", "upstream_id")
        constraints = (
            models.UniqueConstraint(
                fields=("provider", "upstream_id"), name="provider_model_once_per_provider"
            ),
        )

    def __str__(self) -> str:
        return f"{self.provider}/{self.upstream_id}"


class UpstreamTest(models.Model):
    """The newest test of a provider: of its list of models, or of an answer of the model `upstream_id`.

    It is no part of the configuration, so a test does not make workers read their routes again.
    """

    provider = models.ForeignKey(Provider, models.CASCADE, related_name="tests")
    upstream_id = models.CharField(max_length=200, blank=True)
    tested_at = models.DateTimeField()
    ok = models.BooleanField()
    status = models.PositiveIntegerField(null=True)
    latency_ms = models.PositiveIntegerField()
    error = models.CharField(max_length=600, blank=True)

    class Meta:
        ordering = ("-tested_at",)
        constraints = (
            models.UniqueConstraint(fields=("provider", "upstream_id"), name="newest_test_alone"),
        )

    def __str__(self) -> str:
        return f"{self.provider}/{self.upstream_id}" if self.upstream_id else str(self.provider)
