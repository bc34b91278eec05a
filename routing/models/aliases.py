"""Define the names clients use for models, and what stands behind them."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gateway_project.lib import clock
from routing import validators
from routing.models.owned import MAX_WEIGHT, OwnedModel
from routing.models.providers import Provider, ProviderModel
from routing.route import USUAL_FALL_BACKS
from tenants.models import ApiKey
from tenants.revision import RevisionedModel

MAX_AFFINITY_SECONDS = 86_400
MAX_ATTEMPTS = 3
MAX_WAIT_SECONDS = 60
MAX_CACHE_SECONDS = 86_400


def usual_fall_backs() -> list[str]:
    """List the kinds of failure after which a new alias asks another target."""
    return list(USUAL_FALL_BACKS)


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
