"""Define providers, their credentials and models, and the aliases clients call them by.

Rows without a tenant belong to the platform and serve every tenant; rows of a tenant serve it alone and
win over the platform's of the same name. A tenant reaches what the platform offers by the platform's
aliases only, because those are what it is charged for: an alias of its own is a link to one of them, or
leads to providers of its own.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gateway_project.lib import clock, ids
from routing import validators
from routing.protocols import PROTOCOLS
from routing.route import USUAL_FALL_BACKS
from tenants.models import ApiKey, Tenant
from tenants.revision import RevisionedModel

MAX_WEIGHT = 1000
MAX_AFFINITY_SECONDS = 86_400
MAX_ATTEMPTS = 3
MAX_WAIT_SECONDS = 60
MAX_CACHE_SECONDS = 86_400


def protocol_choices() -> list[tuple[str, str]]:
    """List what an upstream may speak."""
    return [(protocol.name, protocol.label) for protocol in PROTOCOLS.values()]


def usual_fall_backs() -> list[str]:
    """List the kinds of failure after which a new alias asks another target."""
    return list(USUAL_FALL_BACKS)


class OwnedModel(RevisionedModel):
    """A row of the platform (no tenant) or of one tenant."""

    tenant = models.ForeignKey(
        Tenant,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        help_text=_("Empty: the platform's, for every tenant."),
    )

    class Meta:
        abstract = True

    def check_may_use(self, other: OwnedModel, field: str) -> None:
        """Raise unless `other` belongs to the platform or to this row's tenant."""
        if other.tenant_id is not None and other.tenant_id != self.tenant_id:
            raise ValidationError(
                {field: gettext("Choose one that belongs to the platform or to the same tenant.")}
            )


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


class Alias(OwnedModel):
    """The name clients use for a model; one or more targets stand behind it, chosen among by its strategy.

    A tenant's alias may instead be a link: another name for one alias of the platform, whose targets,
    strategy, price and grants apply.
    """

    class Strategy(models.TextChoices):
        WEIGHTED = "weighted", _("By weight")
        FASTEST = "fastest", _("The fastest")
        CHEAPEST = "cheapest", _("The cheapest")
        LEAST_BUSY = "least_busy", _("The least busy")

    class Affinity(models.TextChoices):
        CACHE = "cache", _("Where the prompt may be cached")
        NONE = "none", _("None")

    class ResponsesMode(models.TextChoices):
        AUTO = "auto", _("Relay or translate")
        NATIVE_ONLY = "native_only", _("Refuse upstreams that do not speak Responses")

    class CacheScope(models.TextChoices):
        KEY = "key", _("Requests of one API key")
        END_USER = "end_user", _("Requests of one end user of an API key")
        TENANT = "tenant", _("All requests of a tenant")

    name = models.CharField(max_length=200, validators=[validators.validate_alias_name])
    platform_alias = models.ForeignKey(
        "self",
        models.CASCADE,
        null=True,
        blank=True,
        related_name="links",
        help_text=_(
            "Makes a tenant's alias another name for this alias of the platform, which says where it "
            "leads and what it costs. Without it, it leads to models of the tenant's own providers."
        ),
    )
    responses_mode = models.CharField(
        max_length=16, choices=ResponsesMode.choices, default=ResponsesMode.AUTO
    )
    drop_unsupported = models.BooleanField(
        default=False,
        help_text=_("Drop parameters the upstream does not support, instead of refusing."),
    )
    store_by_default = models.BooleanField(
        null=True,
        blank=True,
        help_text=_(
            "Keep responses whose request does not say whether to store them; unknown: as the "
            "tenant does."
        ),
    )
    resumable_streams = models.BooleanField(
        default=False,
        help_text=_(
            "Streams of stored responses go on when the client leaves, and can be resumed."
        ),
    )
    strategy = models.CharField(
        max_length=16,
        choices=Strategy.choices,
        default=Strategy.WEIGHTED,
        help_text=_("How the targets of one tier are ordered for a call."),
    )
    affinity = models.CharField(
        max_length=16,
        choices=Affinity.choices,
        default=Affinity.CACHE,
        help_text=_("Calls that begin alike go to the same target, as long as it works."),
    )
    affinity_seconds = models.PositiveIntegerField(
        default=600,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_AFFINITY_SECONDS)],
        help_text=_("How long a target that answered is preferred for calls that begin alike."),
    )
    max_attempts = models.PositiveSmallIntegerField(
        default=MAX_ATTEMPTS,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_ATTEMPTS)],
        help_text=_("Calls to providers for one request, 1 to 3, over all targets."),
    )
    wait_seconds = models.PositiveSmallIntegerField(
        default=5,
        validators=[MaxValueValidator(MAX_WAIT_SECONDS)],
        help_text=_(
            "The longest wait, 0 to 60 seconds, until a target may be asked again where none other is left."
        ),
    )
    fall_back_on = models.JSONField(
        default=usual_fall_backs,
        blank=True,
        validators=[validators.validate_fall_backs],
        help_text=_("The kinds of failure after which another target is asked."),
    )
    cache_seconds = models.PositiveIntegerField(
        default=0,
        db_default=0,
        validators=[MaxValueValidator(MAX_CACHE_SECONDS)],
        help_text=_(
            "For how long an answer is given again to an equal request; 0: no answer is kept, at most "
            "86400. Of a link: 0 as the platform's alias has it."
        ),
    )
    cache_scope = models.CharField(
        max_length=16,
        choices=CacheScope.choices,
        default=CacheScope.KEY,
        db_default=CacheScope.KEY,
        help_text=_("Which requests share an answer; never those of two tenants."),
    )
    cache_any_temperature = models.BooleanField(
        default=False,
        db_default=False,
        help_text=_(
            "Keep answers to requests with a temperature above 0, too, and to those that name none, "
            "which counts as above 0."
        ),
    )
    cache_charge_percent = models.PositiveSmallIntegerField(
        default=0,
        db_default=0,
        validators=[MaxValueValidator(100)],
        help_text=_("What an answer from the cache is charged, in percent of its price."),
    )
    cache_generation = models.PositiveIntegerField(
        default=0,
        db_default=0,
        editable=False,
        help_text=_("How often its kept answers were purged."),
    )
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering = ("name",)
        verbose_name_plural = _("aliases")
        constraints = (
            models.UniqueConstraint(fields=("tenant", "name"), name="alias_name_per_tenant"),
            models.UniqueConstraint(
                fields=("name",),
                condition=Q(tenant=None),
                name="alias_name_of_platform",
                violation_error_message="The platform already has an alias of this name.",
            ),
            models.CheckConstraint(
                condition=Q(platform_alias=None) | Q(tenant__isnull=False),
                name="only_a_tenants_alias_is_a_link",
                violation_error_message="An alias of the platform leads to models, not to another alias.",
            ),
        )

    def may_lead_to(self, provider: Provider) -> bool:
        """Tell whether the targets may be models of this provider.

        The platform's aliases lead to the platform's providers, and a tenant's to its own.
        """
        return provider.tenant_id == self.tenant_id

    def clean(self) -> None:
        linked = self.platform_alias
        if linked is not None and linked.tenant_id is not None:
            raise ValidationError({"platform_alias": gettext("Choose an alias of the platform.")})

    def __str__(self) -> str:
        return self.name


class Target(RevisionedModel):
    """A provider model behind an alias. Its position is its tier: the lowest is tried first, and those with
    the same position share the calls by their weights.

    `is_legacy`: it leads a tenant's alias to a model of the platform and predates links, so it goes on
    working, at the operator's price. Only a migration sets it.
    """

    alias = models.ForeignKey(Alias, models.CASCADE, related_name="targets")
    # RESTRICT, not PROTECT: a tenant can be deleted with its aliases and the models behind them.
    provider_model = models.ForeignKey(ProviderModel, models.RESTRICT, related_name="targets")
    position = models.PositiveSmallIntegerField(
        default=0,
        help_text=_("The tier: the lowest is tried first, equal ones share the calls."),
    )
    weight = models.PositiveSmallIntegerField(
        default=100,
        validators=[MaxValueValidator(MAX_WEIGHT)],
        help_text=_(
            "Its share of the calls within its tier, 0 to 1000. 0: only when all others have failed."
        ),
    )
    enabled = models.BooleanField(default=True)
    when = models.JSONField(
        default=dict,
        blank=True,
        validators=[validators.validate_when],
        help_text=_(
            'The calls it is for, for example {"input_tokens": {"lte": 8000}, "tags.team": "search"}; '
            "all must hold. Empty: all calls."
        ),
    )
    is_legacy = models.BooleanField(default=False, editable=False)

    class Meta:
        ordering = ("alias", "position")
        constraints = (
            models.UniqueConstraint(
                fields=("alias", "provider_model"), name="target_once_per_alias"
            ),
        )

    def clean(self) -> None:
        if self.alias_id is not None and self.provider_model_id is not None:
            self.check_reach()

    def check_reach(self) -> None:
        """Raise unless this alias may lead to this model. Needs both objects, saved or not."""
        alias, provider = self.alias, self.provider_model.provider
        alias.check_may_use(provider, "provider_model")
        if alias.platform_alias is not None:
            raise ValidationError(
                {
                    "provider_model": gettext(
                        "%(name)s is a link to the platform's alias %(name2)s, so it has no "
                        "models of its own."
                    )
                    % {"name": repr(alias.name), "name2": repr(alias.platform_alias.name)}
                }
            )
        if not alias.may_lead_to(provider) and not self._is_unchanged_legacy():
            raise ValidationError(
                {
                    "provider_model": gettext(
                        "%(name)s is a provider of the platform: link to one of the platform's "
                        "aliases instead, or choose a model of the tenant's own providers."
                    )
                    % {"name": repr(provider.name)}
                }
            )

    def _is_unchanged_legacy(self) -> bool:
        stored = Target.objects.filter(pk=self.pk, alias=self.alias_id, is_legacy=True)
        return self.pk is not None and stored.filter(provider_model=self.provider_model_id).exists()

    def __str__(self) -> str:
        return f"{self.alias} → {self.provider_model}"


class AliasGrant(RevisionedModel):
    """Permission for a restricted key to use this alias."""

    api_key = models.ForeignKey(ApiKey, models.CASCADE, related_name="alias_grants")
    alias = models.ForeignKey(Alias, models.CASCADE, related_name="grants")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("api_key", "alias"), name="alias_granted_once"),
        )

    def clean(self) -> None:
        if self.api_key_id is None or self.alias_id is None:
            return
        if self.alias.tenant_id not in {None, self.api_key.tenant_id}:
            raise ValidationError(
                {"alias": gettext("Choose an alias of the platform or of the key's tenant.")}
            )

    def __str__(self) -> str:
        return f"{self.api_key} → {self.alias}"
