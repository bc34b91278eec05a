"""Identity providers that people sign in through, and who they are there."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gateway_project.lib import clock, ids
from tenants import validators
from tenants.audit.querysets import RecordedModel
from tenants.models.accounts import Tenant
from tenants.models.members import Membership


class IdentityProvider(RecordedModel):
    """An OpenID Connect provider: of the platform (no tenant), or of one tenant for its members."""

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    tenant = models.ForeignKey(
        Tenant,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="identity_providers",
        help_text=_("Who comes through a tenant's provider can do things in that tenant alone."),
    )
    name = models.CharField(
        max_length=100, help_text=_("As people know it; stands on the sign-in.")
    )
    issuer = models.CharField(
        max_length=300,
        validators=[URLValidator(schemes=("http", "https"))],
        help_text=_(
            "Exactly as the provider calls itself, such as https://login.example.com/acme."
        ),
    )
    client_id = models.CharField(max_length=300)
    sealed_secret = models.TextField(blank=True, editable=False)
    last_four = models.CharField(max_length=4, blank=True, editable=False)
    enabled = models.BooleanField(default=True)
    allow_private_network = models.BooleanField(
        default=False,
        help_text=_(
            "It may be at an address of your own network, and without TLS. The platform's only."
        ),
    )
    creates_members = models.BooleanField(
        default=False,
        help_text=_("Who signs in for the first time becomes a member of the tenant."),
    )
    group_claim = models.CharField(
        max_length=100, blank=True, help_text=_("The claim that lists a person's groups: groups.")
    )
    group_roles = models.JSONField(
        default=dict,
        blank=True,
        validators=[validators.validate_group_roles],
        help_text=_('The role of each group, as {"engineers": "developer"}.'),
    )
    default_role = models.CharField(
        max_length=16,
        choices=Membership.Role.choices,
        blank=True,
        help_text=_("For members in none of these groups; empty: they are not let in."),
    )
    maximum_role = models.CharField(
        max_length=16,
        choices=Membership.Role.choices,
        default=Membership.Role.DEVELOPER,
        help_text=_("No group gives more than this."),
    )
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(
                condition=Q(tenant=None) | Q(allow_private_network=False),
                name="private_networks_for_the_platforms_provider",
            ),
        )

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse what would send a person, and the client's secret, over an unencrypted line."""
        if not self.allow_private_network and not self.issuer.startswith("https://"):
            raise ValidationError(
                gettext("The issuer %(issuer)s must be reached over https.")
                % {"issuer": repr(self.issuer)}
            )
        if self.tenant_id is not None and self.allow_private_network:
            raise ValidationError(
                gettext("Only the platform's identity provider may be on your network.")
            )


class IdentityDomain(RecordedModel):
    """A mail domain whose people are led to a provider, once it is confirmed (tenants/sign_in/domains.py)."""

    provider = models.ForeignKey(IdentityProvider, models.CASCADE, related_name="domains")
    domain = models.CharField(max_length=253, validators=[validators.validate_domain])
    confirmed = models.BooleanField(
        default=False,
        help_text=_("Known to be the tenant's: an operator said so, or a record in its DNS."),
    )

    class Meta:
        ordering = ("domain",)
        constraints = (
            models.UniqueConstraint(
                fields=("domain",), condition=Q(confirmed=True), name="domain_is_one_providers"
            ),
            models.UniqueConstraint(fields=("provider", "domain"), name="domain_once_a_provider"),
        )

    def __str__(self) -> str:
        return self.domain


class ExternalIdentity(RecordedModel):
    """Names the person that an issuer calls by a subject. Nobody is found by a mail address or a name."""

    issuer = models.CharField(max_length=300)
    subject = models.CharField(max_length=255)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="external_identities"
    )
    shown_as = models.CharField(max_length=200, blank=True)
    # The id of a tenant whose provider made this person a member: there its groups decide, also later.
    member_of = models.BigIntegerField(null=True, editable=False)
    # Since when its groups give less than an owner has, of which the tenant has no other.
    kept_as_owner_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ("issuer", "subject")
        verbose_name_plural = _("external identities")
        constraints: ClassVar[tuple[models.BaseConstraint, ...]] = (
            models.UniqueConstraint(fields=("issuer", "subject"), name="identity_once"),
        )

    def __str__(self) -> str:
        return f"{self.subject} at {self.issuer}"
