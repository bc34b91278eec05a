"""State the rules for providers, credentials, models, aliases, the models behind them, and grants."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db.models import QuerySet, RestrictedError

from gateway_project.lib.secret import Secret
from routing import credentials
from routing.models import Alias, AliasGrant, Credential, Provider, ProviderModel, Target
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.managed.resource import Resource, Row, Values, register

MAX_SECRET = 10_000


class ProviderResource(Resource):
    model = Provider
    named_by = ("name",)
    area = Area.PROVIDERS
    shows_platform_rows = True
    of_upstreams = True
    # Where the platform's upstreams lie is nobody else's business.
    hidden_of_platform = ("base_url", "quirks", "allow_private_network", "limits")
    # Whoever may set this reaches the operator's own network.
    # And whoever may set the other one says which calls are free.
    of_operators = ("allow_private_network", "allow_tenant_credentials")
    fields = (
        "tenant",
        "name",
        "vendor",
        "protocol",
        "base_url",
        "auth_kind",
        "quirks",
        "allow_private_network",
        "allow_tenant_credentials",
        "forward_trace_context",
        "limits",
        "enabled",
    )

    def remove(self, who: Access, row: Provider) -> None:
        """Name the aliases that models of it stand behind; the console's page removes those targets, too."""
        try:
            super().remove(who, row)
        except RestrictedError as error:
            behind = Alias.objects.filter(targets__provider_model__provider=row)
            if not behind.exists():  # something else counts on it
                raise
            owner = {} if row.tenant_id is None else {"tenant": row.tenant_id}
            behind = Alias.objects.filter(targets__provider_model__provider=row, **owner)
            names = behind.order_by("name").values_list("name", flat=True).distinct()[:10]
            raise ValidationError(
                f"Models of it are behind the aliases {', '.join(names)}: remove those targets first.",
                code="conflict",
            ) from error


class CredentialResource(Resource):
    """Credentials: `secret` goes in and is never shown again."""

    model = Credential
    named_by = ("provider__name", "name")
    area = Area.CREDENTIALS
    fields = ("tenant", "provider", "name", "weight", "enabled")
    extra = ("secret",)
    # The secret is sealed for its tenant, and sent to its provider: neither may change under it.
    fixed = ("tenant", "provider")

    def prepare(
        self, who: Access, row: Credential, extra: Values, *, is_new: bool
    ) -> Secret | None:
        secret = extra.get("secret")
        if is_new and row.provider_id is None:
            raise ValidationError({"provider": "This is needed."})
        if is_new and secret is None:
            raise ValidationError({"secret": "This is needed."})
        is_shown = not is_new and secret == masked(row)  # a client sent back what it had read
        if secret is not None and not is_shown:
            credentials.set_secret(row, _checked(secret))
        return None


def masked(row: Credential) -> str:
    """Return what is shown of a stored secret."""
    return f"••••{row.last_four}"


def _checked(secret: Secret | str) -> Secret:
    text = secret.reveal() if isinstance(secret, Secret) else secret
    if not isinstance(text, str) or not 0 < len(text) <= MAX_SECRET:
        raise ValidationError({"secret": f"Write a text of 1 to {MAX_SECRET} characters."})
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValidationError({"secret": "Text may hold no half of a character."}) from None
    return Secret(text)


class ModelResource(Resource):
    model = ProviderModel
    named_by = ("provider__name", "upstream_id")
    area = Area.PROVIDERS
    shows_platform_rows = True
    of_upstreams = True
    fixed = ("provider",)  # aliases count on whose model it is
    fields = ("provider", "upstream_id", "context_window", "max_output_tokens", "capabilities")


class AliasResource(Resource):
    model = Alias
    named_by = ("name",)
    area = Area.ALIASES
    shows_platform_rows = True
    # What a kept answer costs is a price, also where the answer came from a tenant's own provider.
    of_operators = ("cache_charge_percent",)
    fields = (
        "tenant",
        "name",
        "platform_alias",
        "responses_mode",
        "drop_unsupported",
        "store_by_default",
        "resumable_streams",
        "strategy",
        "affinity",
        "affinity_seconds",
        "max_attempts",
        "wait_seconds",
        "fall_back_on",
        "cache_seconds",
        "cache_scope",
        "cache_any_temperature",
        "cache_charge_percent",
        "enabled",
    )

    def prepare(self, who: Access, row: Alias, extra: Values, *, is_new: bool) -> Secret | None:
        if row.platform_alias_id is not None and not is_new and row.targets.exists():
            message = (
                "A link to an alias of the platform has no models of its own; remove its targets."
            )
            raise ValidationError({"platform_alias": message})
        return None


class TargetResource(Resource):
    """Models behind an alias, in tiers by their positions."""

    model = Target
    area = Area.ALIASES
    shows_platform_rows = True
    of_upstreams = True
    hidden_of_platform = ("when",)  # it may name keys and tags of other tenants
    fixed = ("alias",)
    fields = ("alias", "provider_model", "position", "weight", "enabled", "when")

    def visible(self, who: Access, rows: QuerySet[Row]) -> QuerySet[Row]:
        rows = super().visible(who, rows)
        if who.sees_upstreams:
            return rows
        # Aliases of tenants from long ago lead to the platform's models.
        return rows.filter(provider_model__provider__tenant__isnull=False)


class GrantResource(Resource):
    """Aliases that a restricted key may use. A link is granted with the alias it leads to, because that
    one's grants count too.
    """

    model = AliasGrant
    area = Area.KEYS
    fixed = ("api_key", "alias")
    fields = ("api_key", "alias")

    def finish(self, row: AliasGrant, extra: Values, *, is_new: bool) -> Secret | None:
        if is_new and row.alias.platform_alias_id is not None:
            AliasGrant.objects.get_or_create(
                api_key_id=row.api_key_id, alias_id=row.alias.platform_alias_id
            )
        return None

    def check_removal(self, row: AliasGrant) -> None:
        links = AliasGrant.objects.filter(
            api_key=row.api_key_id, alias__platform_alias=row.alias_id
        )
        if (link := links.select_related("alias").first()) is not None:
            raise ValidationError(
                f"The key may use {link.alias.name!r}, a link to this alias: remove that grant first.",
                code="conflict",
            )


PROVIDERS = register(ProviderResource())
CREDENTIALS = register(CredentialResource())
MODELS = register(ModelResource())
ALIASES = register(AliasResource())
TARGETS = register(TargetResource())
GRANTS = register(GrantResource())
