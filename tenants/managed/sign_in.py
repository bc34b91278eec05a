"""State the rules for how people sign in to a tenant: its identity providers and their mail domains."""

from __future__ import annotations

from django.core.exceptions import ValidationError

from gateway_project.lib.secret import Secret
from tenants.access.access import Access
from tenants.access.rights import ROLES, Area
from tenants.managed.resource import Resource, Values, register
from tenants.models import IdentityDomain, IdentityProvider
from tenants.sign_in import identities

MAX_SECRET = 10_000
BEYOND = "You may not give away more than you may do yourself."


class IdentityProviderResource(Resource):
    """Identity providers: the client's `secret` goes in and is never shown again."""

    model = IdentityProvider
    named_by = ("name",)
    area = Area.SIGN_IN
    fields = (
        "tenant",
        "name",
        "issuer",
        "client_id",
        "enabled",
        "allow_private_network",
        "creates_members",
        "group_claim",
        "group_roles",
        "default_role",
        "maximum_role",
    )
    extra = ("secret",)
    # The secret is sealed for them, and people are who they are at this issuer.
    fixed = ("tenant", "issuer")
    of_operators = ("allow_private_network",)

    def prepare(
        self, who: Access, row: IdentityProvider, extra: Values, *, is_new: bool
    ) -> Secret | None:
        if not may_let_in(who, row):
            raise ValidationError({"maximum_role": BEYOND})
        secret = extra.get("secret")
        is_shown = not is_new and secret == masked(row)  # a client sent back what it had read
        if secret is not None and secret != "" and not is_shown:
            identities.set_secret(row, _checked(secret))
        return None


class IdentityDomainResource(Resource):
    """Mail domains. One is added and removed, not changed: it would keep its confirmation, which is an
    operator's.
    """

    model = IdentityDomain
    named_by = ("domain",)
    area = Area.SIGN_IN
    fields = ("provider", "domain", "confirmed")
    fixed = ("provider", "domain")
    of_operators = ("confirmed",)


def may_let_in(who: Access, provider: IdentityProvider) -> bool:
    """Tell whether they could themselves give away the most that a provider gives in its tenant."""
    if provider.tenant_id is None:
        return True
    return who.may_grant(ROLES[provider.maximum_role], provider.tenant_id)


def masked(provider: IdentityProvider) -> str:
    """Return what is shown of a stored secret; empty if there is none."""
    return f"••••{provider.last_four}" if provider.sealed_secret else ""


def _checked(secret: object) -> Secret:
    if not isinstance(secret, str) or not len(secret) <= MAX_SECRET:
        raise ValidationError({"secret": f"Write a text of at most {MAX_SECRET} characters."})
    try:
        secret.encode()
    except UnicodeEncodeError:
        raise ValidationError({"secret": "Text may hold no half of a character."}) from None
    return Secret(secret)


IDENTITY_PROVIDERS = register(IdentityProviderResource())
IDENTITY_DOMAINS = register(IdentityDomainResource())
