"""Serve tenants, API keys and tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.core.exceptions import PermissionDenied, ValidationError
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.lib import durations, errors
from gateway_project.lib.commands import parse_field
from tenants import suspension
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.api.base import access_of, body_of
from tenants.api.rows import PlainSerializer, Rows, RowSerializer
from tenants.deletion import asking, work
from tenants.keys import api_tokens, key_changes, keys
from tenants.managed.tables import KEYS, TENANTS
from tenants.managed.tokens import TOKENS
from tenants.models import ApiKey, ApiToken, KeySecret, Tenant, TenantDeletion
from tenants.reports import billing
from tenants.reports.tenants import figures
from tenants.validators import SCOPES


class TenantSerializer(RowSerializer):
    slug = serializers.SlugField(
        max_length=63, required=False, help_text="Derived from the name where it is left out."
    )

    class Meta:
        model = Tenant
        fields = ("id", *TENANTS.fields, "created_at")
        read_only_fields = ("id", "created_at")


class DeletionSerializer(serializers.Serializer[Any]):
    """The progress of a tenant's deletion."""

    state = serializers.ChoiceField(choices=("not_asked", *TenantDeletion.State.values))
    asked_by = serializers.CharField(allow_null=True)
    asked_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    erased = serializers.DictField(child=serializers.IntegerField(), help_text="Rows, by kind.")
    left = serializers.DictField(
        child=serializers.IntegerField(),
        allow_null=True,
        help_text="Rows to erase, by kind. Before it is asked for, null but for operators.",
    )


class BeginDeletionSerializer(serializers.Serializer[Any]):
    slug = serializers.CharField(help_text="The tenant's slug, to confirm.")


class CreditLeftSerializer(serializers.Serializer[Any]):
    """The rest of a grant, refund or adjustment."""

    id = serializers.IntegerField(source="movement.pk", help_text="Of the movement in `credit`.")
    reference = serializers.CharField(source="movement.reference")
    expires_at = serializers.DateTimeField(source="movement.expires_at", allow_null=True)
    left_cents = serializers.IntegerField(source="rest_cents")


class StandingCreditSerializer(serializers.Serializer[Any]):
    """A tenant's prepaid credit."""

    balance_cents = serializers.IntegerField()
    left = CreditLeftSerializer(many=True, help_text="In the order in which it is used.")


class TenantFiguresSerializer(serializers.Serializer[Any]):
    """A tenant's figures. What the token may not see is null."""

    keys = serializers.IntegerField(allow_null=True, help_text="Neither revoked nor expired.")
    members = serializers.IntegerField(allow_null=True)
    month_starts_at = serializers.DateTimeField(help_text="Of this month, in the tenant's zone.")
    charge_nano = serializers.IntegerField(
        allow_null=True, help_text="Nano-dollars of this month, as of the last sums."
    )


class TenantRows(Rows):
    resource, about = TENANTS, "tenants"
    serializer_class = TenantSerializer
    filters: ClassVar[dict[str, str]] = {"slug": "slug"}
    without = frozenset({"delete"})  # a tenant is not removed within one request
    further: ClassVar[dict[str, Any]] = {
        "suspend": "post",
        "resume": "post",
        "deletion": {"get": "deletion", "post": "begin_deletion"},
        "credit": "get",
        "figures": "get",
    }
    bodies: ClassVar[dict[str, Any]] = {"begin_deletion": BeginDeletionSerializer}
    results: ClassVar[dict[str, Any]] = {
        "deletion": DeletionSerializer,
        "begin_deletion": DeletionSerializer,
        "credit": StandingCreditSerializer,
        "figures": TenantFiguresSerializer,
    }

    def suspend(self, request: Request, key: str) -> Response:
        """Refuse the tenant's keys within a second, until it is resumed. Only operators may."""
        return self._set(suspension.suspend, request, key)

    def resume(self, request: Request, key: str) -> Response:
        """Let the tenant's keys in again. Only operators may."""
        return self._set(suspension.resume, request, key)

    def _set(
        self, change: Callable[[Tenant, Access], None], request: Request, key: str
    ) -> Response:
        row = self.row(request, key)
        asking.check_right(row, access_of(request))
        body_of(request, ())
        try:
            change(row, access_of(request))
        except ValidationError as error:
            raise errors.Conflict(" ".join(error.messages)) from error
        return self.answer(self.row(request, key), request)

    def deletion(self, request: Request, key: str) -> Response:
        """Tell how far the deletion of the tenant is; before, what it would erase."""
        row = self.row(request, key)
        self.refuse_unless("view", request, row)
        return self._progress(row, request)

    def begin_deletion(self, request: Request, key: str) -> Response:
        """Delete the tenant for good. To ask again changes nothing. Only operators may."""
        row = self.row(request, key)
        asking.check_right(row, access_of(request))
        slug = text_of("slug", body_of(request, ("slug",)).get("slug"))
        asking.ask(row, access_of(request), typed_slug=slug)
        return self._progress(row, request)

    def _progress(self, tenant: Tenant, request: Request) -> Response:
        begun = TenantDeletion.objects.filter(tenant=tenant).first()
        is_told = begun is not None or self.resource.may(access_of(request), "delete", tenant)
        return Response(
            {
                "state": "not_asked" if begun is None else begun.state,
                "asked_by": begun and begun.asked_by,
                "asked_at": begun and begun.asked_at,
                "finished_at": begun and begun.finished_at,
                "erased": {} if begun is None else begun.counts,
                "left": work.remaining(tenant) if is_told else None,
            }
        )

    def credit(self, request: Request, key: str) -> Response:
        """Tell what the tenant has in prepaid credit, and what of it is used first."""
        row = self.row(request, key)
        return Response(credit_of(access_of(request), row))

    def figures(self, request: Request, key: str) -> Response:
        """Tell how many keys and members the tenant has, and what this month has been charged."""
        return Response(figures_of(access_of(request), self.row(request, key)))


FIGURES_OF = {"keys": Area.KEYS, "members": Area.MEMBERS, "charge_nano": Area.USAGE}


def credit_of(who: Access, tenant: Tenant) -> dict[str, Any]:
    """Return what a tenant has in prepaid credit. Raise PermissionDenied."""
    if not who.may("view", Area.BILLING, tenant.pk):
        raise PermissionDenied
    return dict(StandingCreditSerializer(billing.credit_standing(tenant.pk)).data)


def figures_of(who: Access, tenant: Tenant) -> dict[str, Any]:
    """Return a tenant's figures, those that they may see."""
    told = dict(TenantFiguresSerializer(figures([tenant])[tenant.pk]).data)
    for name, area in FIGURES_OF.items():
        if not who.may("view", area, tenant.pk):
            told[name] = None
    return told


class KeySecretSerializer(PlainSerializer):
    shown = serializers.CharField(source="__str__", read_only=True, help_text="Such as ••••1234.")

    class Meta:
        model = KeySecret
        fields = ("shown", "created_at", "expires_at")
        read_only_fields = fields


class KeySerializer(RowSerializer):
    id = serializers.CharField(source="public_id", read_only=True)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=sorted(SCOPES)), required=False
    )
    allowed_networks = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        help_text='Addresses it may be used from, as CIDR, for example ["10.0.0.0/8"]; empty: any.',
    )
    secrets = KeySecretSerializer(many=True, read_only=True)

    class Meta:
        model = ApiKey
        fields = (
            "id",
            *KEYS.fields,
            "secrets",
            "revoked_at",
            "revoked_reason",
            "last_used_at",
            "created_at",
        )
        read_only_fields = ("id", "revoked_at", "revoked_reason", "last_used_at", "created_at")


class RotationSerializer(serializers.Serializer[Any]):
    overlap = serializers.CharField(
        required=False, help_text="How long the old secret goes on: 0s to 30d, 24h by default."
    )


class RevocationSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(
        required=False, allow_blank=True, max_length=key_changes.MAX_REASON_LENGTH
    )


class KeyRows(Rows):
    resource, about = KEYS, "API keys"
    serializer_class = KeySerializer
    filters: ClassVar[dict[str, str]] = {"tenant": "tenant"}
    prefetched: ClassVar[tuple[Any, ...]] = ("secrets",)
    shows_secret = True
    restless = ("last_used_at",)
    further: ClassVar[dict[str, str]] = {"rotate": "post", "revoke": "post"}
    bodies: ClassVar[dict[str, Any]] = {
        "rotate": RotationSerializer,
        "revoke": RevocationSerializer,
    }

    def rotate(self, request: Request, key: str) -> Response:
        """Give the key a new secret, which is shown once; the old one goes on for the overlap."""
        row = self.row(request, key)
        self.refuse_unless("change", request, row)
        overlap = keys.DEFAULT_OVERLAP
        if (text := body_of(request, ("overlap",)).get("overlap")) is not None:
            overlap = parse_field("overlap", durations.parse, text_of("overlap", text))
        rotated = key_changes.rotate(row, overlap)
        return self.answer(self.row(request, key), request, secret=rotated.secret)

    def revoke(self, request: Request, key: str) -> Response:
        """End the key for good."""
        row = self.row(request, key)
        self.refuse_unless("change", request, row)
        reason = text_of("reason", body_of(request, ("reason",)).get("reason", ""))
        key_changes.revoke(row, reason)
        return self.answer(self.row(request, key), request)


def text_of(name: str, value: Any) -> str:
    """Return a value that has to be a text. Raise ValidationError."""
    if not isinstance(value, str) or "\0" in value:
        raise ValidationError({name: "Write a text."})
    return value


class TokenSerializer(RowSerializer):
    id = serializers.CharField(source="public_id", read_only=True)
    scopes = serializers.ListField(
        child=serializers.CharField(),
        allow_empty=False,
        help_text='What it may do, such as ["keys.view", "limits.*"], or ["*"]: all that you may.',
    )
    shown = serializers.SerializerMethodField(help_text="Such as ••••1234.")

    class Meta:
        model = ApiToken
        fields = (
            "id",
            *TOKENS.fields,
            "shown",
            "revoked_at",
            "last_used_at",
            "created_at",
            "created_by",
            "made_by",
        )
        read_only_fields = (
            "id",
            "revoked_at",
            "last_used_at",
            "created_at",
            "created_by",
            "made_by",
        )

    def get_shown(self, token: ApiToken) -> str:
        return f"••••{token.last_four}"


class TokenRows(Rows):
    resource, about = TOKENS, "API tokens"
    serializer_class = TokenSerializer
    filters: ClassVar[dict[str, str]] = {"tenant": "tenant"}
    shows_secret = True
    restless = ("last_used_at",)
    further: ClassVar[dict[str, str]] = {"revoke": "post"}

    def revoke(self, request: Request, key: str) -> Response:
        """End the token for good."""
        row = self.row(request, key)
        self.refuse_unless("delete", request, row)
        body_of(request, ())
        api_tokens.revoke(row)
        return self.answer(self.row(request, key), request)
