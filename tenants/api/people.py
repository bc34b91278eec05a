"""Serve a tenant's people: members, roles of its own, invitations."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.urls import reverse
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.lib import errors
from gateway_project.lib.secret import Secret
from tenants.access.rights import TENANT_NAMES
from tenants.api.base import access_of, body_of
from tenants.api.rows import Rows, RowSerializer
from tenants.managed.people import INVITATIONS, MEMBERSHIPS, ROLES, maker, with_one_role
from tenants.members import console_address, invitations
from tenants.members.mail import send_invitation
from tenants.models import CustomRole, Invitation, Membership
from tenants.sign_in import factors


class HolderRows(Rows):
    """Rows that have a role: a built-in one as `role`, or one of the tenant's own as `custom_role`."""

    def completed(self, values: dict[str, Any]) -> dict[str, Any]:
        return dict(with_one_role(values))


class MemberSerializer(RowSerializer):
    username = serializers.CharField(source="user.username", read_only=True)
    last_sign_in_at = serializers.DateTimeField(
        source="user.last_login", read_only=True, allow_null=True
    )
    has_second_factor = serializers.BooleanField(read_only=True)

    class Meta:
        model = Membership
        fields = (
            "id", *MEMBERSHIPS.fields, "username", "last_sign_in_at", "has_second_factor",
            "created_at",
        )  # fmt: skip
        read_only_fields = ("id", "username", "created_at")


class MemberRows(HolderRows):
    resource, about = MEMBERSHIPS, "members"
    serializer_class = MemberSerializer
    filters: ClassVar[dict[str, str]] = {"tenant": "tenant", "user": "user"}
    joined = ("user",)
    restless = ("last_sign_in_at", "has_second_factor")

    def _rows(self) -> QuerySet[Any]:
        return factors.with_factor(super()._rows())


class RoleSerializer(RowSerializer):
    permissions = serializers.ListField(
        child=serializers.ChoiceField(choices=TENANT_NAMES),
        help_text="What may be changed, added or deleted has to be viewed, too.",
    )

    class Meta:
        model = CustomRole
        fields = ("id", *ROLES.fields, "created_at", "created_by")
        read_only_fields = ("id", "created_at", "created_by")


class RoleRows(Rows):
    resource, about = ROLES, "roles of tenants"
    serializer_class = RoleSerializer
    filters: ClassVar[dict[str, str]] = {"tenant": "tenant", "name": "name"}


class InvitationSerializer(RowSerializer):
    valid_for = serializers.CharField(
        write_only=True,
        required=False,
        help_text="How long the link works: up to 30d, 7d by default.",
    )
    state = serializers.ChoiceField(choices=Invitation.State.choices, read_only=True)

    class Meta:
        model = Invitation
        fields = (
            "id", *INVITATIONS.fields, "valid_for", "state", "expires_at", "used_at", "used_by",
            "revoked_at", "created_at", "created_by", "by_command", "made_by",
        )  # fmt: skip
        read_only_fields = (
            "id", "expires_at", "used_at", "used_by", "revoked_at", "created_at", "created_by",
            "by_command", "made_by",
        )  # fmt: skip


class InvitationRows(HolderRows):
    resource, about = INVITATIONS, "invitations"
    serializer_class = InvitationSerializer
    filters: ClassVar[dict[str, str]] = {"tenant": "tenant", "email": "email"}
    shows_secret = True
    shown_once = ("link", "mail")
    restless = ("state",)
    further: ClassVar[dict[str, str]] = {"resend": "post", "revoke": "post"}

    def resend(self, request: Request, key: str) -> Response:
        """Give an invitation a new link and seven more days; the old link opens nothing."""
        row = self.row(request, key)
        self.refuse_unless("add", request, row)
        body_of(request, ())
        try:
            _, token = invitations.resend(access_of(request), row, created_by=maker())
        except ValidationError as error:
            raise errors.Conflict(" ".join(error.messages)) from error
        return self.answer(self.row(request, key), request, secret=token)

    def revoke(self, request: Request, key: str) -> Response:
        """End an invitation that was not used; twice is as good as once."""
        row = self.row(request, key)
        body_of(request, ())
        invitations.revoke(access_of(request), row)
        return self.answer(self.row(request, key), request)

    def revealed(self, row: Invitation, secret: Secret, request: Request) -> dict[str, Any]:
        """Send the link, now that all is stored, and show it."""
        asked = request.build_absolute_uri("/").rstrip("/")  # the console may be at another host
        return link_of(row, secret, console_address.of(otherwise=asked))


def link_of(row: Invitation, token: Secret, base: str) -> dict[str, Any]:
    """Send the link of an invitation, and return it with what became of the mail."""
    link = base + reverse("accept_invitation", args=(token.reveal(),))
    return {"link": link, "mail": send_invitation(row, link)}
