"""Serve accounts of people, their sessions and names at identity providers, and acting as a tenant."""

from __future__ import annotations

from typing import Any, ClassVar

from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.api.base import body_of
from tenants.api.rows import Rows, RowSerializer
from tenants.managed.accounts import EXTERNAL_IDENTITIES, SESSIONS, SUPPORT, USERS, role_of
from tenants.members import support
from tenants.members.accounts import PLATFORM_ROLES
from tenants.models import ConsoleSession, ExternalIdentity, SupportSession
from tenants.sign_in.factors import REAL_FACTORS


class PlatformRoleField(serializers.ChoiceField):
    """A role on the platform, which two rows say together."""

    def get_attribute(self, instance: Any) -> str:
        return role_of(instance)


class UserSerializer(RowSerializer):
    role = PlatformRoleField(
        choices=PLATFORM_ROLES,
        help_text="On the platform; empty for people of tenants. Needed for a new one.",
    )
    has_second_factor = serializers.BooleanField(read_only=True)

    class Meta:
        model = User
        fields = ("id", *USERS.fields, "role", "has_second_factor", "last_login", "date_joined")
        read_only_fields = ("id", "last_login", "date_joined")


class UserRows(Rows):
    resource, about = USERS, "accounts of people"
    serializer_class = UserSerializer
    filters: ClassVar[dict[str, str]] = {"username": "username", "is_active": "is_active"}
    joined = ("platform_role",)
    shows_secret = True
    shown_once = ("password",)
    restless = ("last_login",)

    def _rows(self) -> QuerySet[Any]:
        factors = Authenticator.objects.filter(user=OuterRef("pk"), type__in=REAL_FACTORS)
        rows: QuerySet[Any] = super()._rows().annotate(has_second_factor=Exists(factors))
        return rows

    def revealed(self, row: Any, secret: Any, request: Request) -> dict[str, Any]:
        return {"password": secret.reveal()}


class SessionSerializer(RowSerializer):
    id = serializers.CharField(source="session_key", read_only=True)

    class Meta:
        model = ConsoleSession
        fields = ("id", "user", "address", "browser", "began_at", "seen_at", "expire_date")
        read_only_fields = fields


class SessionRows(Rows):
    resource, about = SESSIONS, "sessions of the console"
    serializer_class = SessionSerializer
    order = ("-seen_at", "-pk")
    filters: ClassVar[dict[str, str]] = {"user": "user"}
    left_out = ("session_data",)
    restless = ("seen_at",)

    def _rows(self) -> QuerySet[Any]:
        return super()._rows().defer("session_data")


class SupportSerializer(RowSerializer):
    class Meta:
        model = SupportSession
        fields = ("id", *SUPPORT.fields, "operator_name", "started_at", "ends_at")
        read_only_fields = ("id", "operator_name", "started_at", "ends_at")


class SupportRows(Rows):
    resource, about = SUPPORT, "times in which an operator acts as a tenant"
    serializer_class = SupportSerializer
    filters: ClassVar[dict[str, str]] = {"tenant": "tenant"}
    further: ClassVar[dict[str, str]] = {"end": "post"}

    def end(self, request: Request, key: str) -> Response:
        """End it now; twice is as good as once."""
        row = self.row(request, key)
        self.refuse_unless("add", request, row)
        body_of(request, ())
        support.end(row)
        return self.answer(self.row(request, key), request)


class ExternalIdentitySerializer(RowSerializer):
    class Meta:
        model = ExternalIdentity
        fields = ("id", *EXTERNAL_IDENTITIES.fields, "shown_as", "created_at", "last_used_at")
        read_only_fields = ("id", "shown_as", "created_at", "last_used_at")


class ExternalIdentityRows(Rows):
    resource, about = EXTERNAL_IDENTITIES, "names of people at identity providers"
    serializer_class = ExternalIdentitySerializer
    filters: ClassVar[dict[str, str]] = {"user": "user", "issuer": "issuer", "subject": "subject"}
