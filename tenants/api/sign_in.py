"""Serve how people sign in to a tenant: its identity providers and their mail domains."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.urls import reverse
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.lib import errors
from tenants.access.rights import ROLES
from tenants.api.base import access_of, body_of
from tenants.api.rows import Rows, RowSerializer, SecretField
from tenants.managed.sign_in import IDENTITY_DOMAINS, IDENTITY_PROVIDERS, MAX_SECRET, masked
from tenants.models import IdentityDomain, IdentityProvider
from tenants.sign_in import domains


class IdentityProviderSerializer(RowSerializer):
    secret = SecretField(
        source="last_four",
        max_length=MAX_SECRET,
        required=False,
        allow_blank=True,
        help_text="The client's. Comes back as ••••1234 alone; empty, the present one stays.",
    )
    group_roles = serializers.DictField(
        child=serializers.ChoiceField(choices=tuple(ROLES)),
        required=False,
        help_text='The role of each group, as {"engineers": "developer"}.',
    )
    callback = serializers.SerializerMethodField(
        help_text="The path to register with the provider, after the console's own address."
    )

    class Meta:
        model = IdentityProvider
        fields = ("id", *IDENTITY_PROVIDERS.fields, "secret", "callback", "created_at")
        read_only_fields = ("id", "created_at")

    def to_representation(self, instance: IdentityProvider) -> dict[str, Any]:
        return {**super().to_representation(instance), "secret": masked(instance)}

    def get_callback(self, provider: IdentityProvider) -> str:
        return reverse("identity_callback", args=(provider.pk,))


class IdentityProviderRows(Rows):
    resource, about = IDENTITY_PROVIDERS, "identity providers"
    serializer_class = IdentityProviderSerializer
    filters: ClassVar[dict[str, str]] = {"tenant": "tenant"}


class IdentityDomainSerializer(RowSerializer):
    record_name = serializers.SerializerMethodField(
        help_text="The name of the TXT record that confirms the domain without an operator."
    )
    record_text = serializers.SerializerMethodField(help_text="The text of that record.")

    class Meta:
        model = IdentityDomain
        fields: ClassVar[Any] = ("id", *IDENTITY_DOMAINS.fields, "record_name", "record_text")
        read_only_fields = ("id",)

    def get_record_name(self, domain: IdentityDomain) -> str:
        return domains.record_name(domain)

    def get_record_text(self, domain: IdentityDomain) -> str:
        return domains.record_text(domain)


class IdentityDomainRows(Rows):
    resource, about = IDENTITY_DOMAINS, "mail domains of identity providers"
    serializer_class = IdentityDomainSerializer
    filters: ClassVar[dict[str, str]] = {
        "tenant": "provider__tenant",
        "provider": "provider",
        "domain": "domain",
    }
    joined = ("provider",)
    further: ClassVar[dict[str, str]] = {"confirm": "post"}

    def confirm(self, request: Request, key: str) -> Response:
        """Confirm the domain if its DNS has the record; twice is as good as once."""
        row = self.row(request, key)
        self.refuse_unless("change", request, row)
        body_of(request, ())
        try:
            domains.confirm_by_dns(access_of(request), row)
        except ValidationError as error:
            raise errors.Conflict(" ".join(error.messages)) from error
        return self.answer(self.row(request, key), request)
