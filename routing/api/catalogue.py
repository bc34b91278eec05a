"""Serve providers, their credentials and models, aliases, what stands behind them, and grants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.lib import errors
from routing import cache_purge, target_order, testing
from routing.api.figures import UpstreamTestSerializer, shown_test
from routing.managed import ALIASES, CREDENTIALS, GRANTS, MAX_SECRET, MODELS, PROVIDERS, TARGETS
from routing.models import (
    Alias,
    AliasGrant,
    Credential,
    Provider,
    ProviderModel,
    Target,
    UpstreamTest,
)
from routing.testing import TooManyTests
from tenants.api.base import access_of, body_of
from tenants.api.rows import Rows, RowSerializer, SecretField
from tenants.models import ApiKey


class ProviderSerializer(RowSerializer):
    quirks = serializers.DictField(required=False, help_text="docs/commands.md, add_provider.")
    limits = serializers.DictField(
        child=serializers.IntegerField(), required=False, help_text="docs/routing.md"
    )

    class Meta:
        model = Provider
        fields = ("id", *PROVIDERS.fields, "created_at")
        read_only_fields = ("id", "created_at")


class ProviderTestSerializer(UpstreamTestSerializer):
    models = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = UpstreamTest
        fields = (*UpstreamTestSerializer.Meta.fields, "models")
        read_only_fields = fields


class SyncedSerializer(serializers.Serializer[Any]):
    added = serializers.ListField(child=serializers.CharField())
    existing = serializers.ListField(child=serializers.CharField())


class OrderSerializer(serializers.Serializer[Any]):
    targets = serializers.ListField(
        child=serializers.IntegerField(),
        help_text="All of them, the first one tried first; neighbours of one tier stay in it.",
    )


@contextmanager
def limited() -> Iterator[None]:
    """Answer 429 where the owner has had its tests of this minute."""
    try:
        yield
    except TooManyTests as error:
        raise errors.RateLimited(" ".join(error.messages), 60) from error


class ProviderRows(Rows):
    resource, about = PROVIDERS, "providers"
    serializer_class = ProviderSerializer
    filters: ClassVar[dict[str, str]] = {"tenant": "tenant", "name": "name"}
    further: ClassVar[dict[str, str]] = {"test": "post", "sync": "post"}
    results: ClassVar[dict[str, Any]] = {"test": ProviderTestSerializer, "sync": SyncedSerializer}

    def test(self, request: Request, key: str) -> Response:
        """Ask the provider for its models, which costs nothing."""
        with limited():
            kept, models = testing.try_provider(access_of(request), self.row(request, key))
        return Response({**shown_test(kept), "models": models})

    def sync(self, request: Request, key: str) -> Response:
        """Take over the models that the provider lists; none is removed."""
        row = self.row(request, key)
        self.refuse_unless("change", request, row)
        with limited():
            synced = testing.sync_models(access_of(request), row)
        return Response({"added": synced.added, "existing": synced.existing})


class CredentialSerializer(RowSerializer):
    secret = SecretField(
        source="last_four", max_length=MAX_SECRET, help_text="Comes back as ••••1234 alone."
    )

    class Meta:
        model = Credential
        fields = (
            "id", "tenant", "provider", "name", "secret", "host", "weight", "enabled", "created_at",
        )  # fmt: skip
        read_only_fields = ("id", "host", "created_at")


class CredentialRows(Rows):
    resource, about = CREDENTIALS, "credentials"
    serializer_class = CredentialSerializer
    filters: ClassVar[dict[str, str]] = {"tenant": "tenant", "provider": "provider"}


class ProviderModelSerializer(RowSerializer):
    capabilities = serializers.ListField(child=serializers.CharField(), required=False)

    class Meta:
        model = ProviderModel
        fields = ("id", *MODELS.fields)
        read_only_fields = ("id",)


class ModelRows(Rows):
    resource, about = MODELS, "models of providers"
    serializer_class = ProviderModelSerializer
    filters: ClassVar[dict[str, str]] = {"provider": "provider", "tenant": "provider__tenant"}
    further: ClassVar[dict[str, str]] = {"test": "post"}
    results: ClassVar[dict[str, Any]] = {"test": UpstreamTestSerializer}

    def test(self, request: Request, key: str) -> Response:
        """Send the smallest real call to the model; it costs what 16 tokens of output do."""
        with limited():
            kept = testing.try_model(access_of(request), self.row(request, key))
        return Response(shown_test(kept))


class AliasSerializer(RowSerializer):
    fall_back_on = serializers.ListField(child=serializers.CharField(), required=False)

    class Meta:
        model = Alias
        fields = ("id", *ALIASES.fields, "cache_generation", "created_at")
        read_only_fields = ("id", "cache_generation", "created_at")


class AliasRows(Rows):
    resource, about = ALIASES, "aliases"
    serializer_class = AliasSerializer
    filters: ClassVar[dict[str, str]] = {"tenant": "tenant", "name": "name"}
    further: ClassVar[dict[str, str]] = {"reorder": "post", "purge_cache": "post"}
    bodies: ClassVar[dict[str, Any]] = {"reorder": OrderSerializer}

    def purge_cache(self, request: Request, key: str) -> Response:
        """Give none of the answers again that were kept until now; links to the alias are purged with it."""
        row = self.row(request, key)
        self.refuse_unless("change", request, row)
        cache_purge.purge_by(access_of(request), row)
        return self.answer(self.row(request, key), request)

    def reorder(self, request: Request, key: str) -> Response:
        """Let the models behind the alias be tried in another order."""
        row = self.row(request, key)
        self.refuse_unless("change", request, row)
        keys = body_of(request, ("targets",)).get("targets", [])
        if not isinstance(keys, list) or any(type(each) is not int for each in keys):
            raise ValidationError({"targets": "Write a list of ids."})
        target_order.put_in_order(access_of(request), row, keys)
        return self.answer(self.row(request, key), request)


class TargetSerializer(RowSerializer):
    when = serializers.DictField(required=False, help_text="Conditions: docs/routing.md")

    class Meta:
        model = Target
        fields = ("id", *TARGETS.fields)
        read_only_fields = ("id",)


class TargetRows(Rows):
    resource, about = TARGETS, "models behind aliases"
    serializer_class = TargetSerializer
    filters: ClassVar[dict[str, str]] = {
        "tenant": "alias__tenant",
        "alias": "alias",
        "provider_model": "provider_model",
    }


class GrantSerializer(RowSerializer):
    api_key = serializers.SlugRelatedField(slug_field="public_id", queryset=ApiKey.objects.all())

    class Meta:
        model = AliasGrant
        fields = ("id", *GRANTS.fields)
        read_only_fields = ("id",)


class GrantRows(Rows):
    resource, about = GRANTS, "grants of aliases to keys"
    serializer_class = GrantSerializer
    filters: ClassVar[dict[str, str]] = {
        "tenant": "api_key__tenant",
        "api_key": "api_key__public_id",
        "alias": "alias",
    }
    joined = ("api_key",)
