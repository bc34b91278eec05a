"""The people of a tenant: who works in it in which role, the roles of its own, and who is invited."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import Q, QuerySet
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.utils.translation import gettext, gettext_lazy

from gateway_project.lib import clock
from tenants import validators
from tenants.access.rights import Permissions, permissions_of
from tenants.audit.querysets import RecordedModel
from tenants.models.accounts import Tenant

INVITED_FOR = timedelta(days=7)


class BuiltInRole(models.TextChoices):
    OWNER = "owner", gettext_lazy("Owner")
    ADMIN = "admin", gettext_lazy("Admin")
    DEVELOPER = "developer", gettext_lazy("Developer")
    BILLING = "billing", gettext_lazy("Billing")
    VIEWER = "viewer", gettext_lazy("Viewer")


class CustomRole(RecordedModel):
    """A role of a tenant's own: a name for some of the permissions that a tenant's people can have."""

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="custom_roles")
    name = models.CharField(max_length=63, validators=[validators.validate_role_name])
    permissions = models.JSONField(default=list, validators=[validators.validate_permissions])
    created_at = models.DateTimeField(default=clock.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
    )

    class Meta:
        ordering = ("tenant", "name")
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "name"),
                name="custom_role_name_once_per_tenant",
                violation_error_message="This tenant has a role of this name.",
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def gives(self) -> Permissions:
        return permissions_of("", self.permissions)


class RoleHolder(RecordedModel):
    """Something that has one role: a built-in one, or one of its tenant's own."""

    role = models.CharField(max_length=16, choices=BuiltInRole.choices, blank=True)
    tenant_id: int
    custom_role_id: int | None
    custom_role: Any

    class Meta:
        abstract = True

    @property
    def permissions(self) -> Permissions:
        """Return what the role gives, wherever it is held."""
        return permissions_of(self.role, self.custom_role.permissions if self.custom_role else None)

    @property
    def role_name(self) -> str:
        return str(self.custom_role) if self.custom_role is not None else self.role

    def clean(self) -> None:
        if bool(self.role) == (self.custom_role_id is not None):
            raise ValidationError(
                {"role": gettext("Choose one role: a built-in one or one of the tenant's.")}
            )
        # Of a row without a tenant, its own error is told.
        if self.custom_role is not None and self.tenant_id not in {
            None,
            self.custom_role.tenant_id,
        }:
            raise ValidationError({"custom_role": gettext("Choose a role of the same tenant.")})


def _one_role(name: str) -> models.CheckConstraint:
    built_in = Q(role__in=BuiltInRole.values, custom_role__isnull=True)
    return models.CheckConstraint(
        condition=built_in | Q(role="", custom_role__isnull=False),
        name=name,
        violation_error_message="Choose one role: a built-in one or one of the tenant's.",
    )


class Membership(RoleHolder):
    """A person's role in a tenant, which is all they need to sign in. Operators need none."""

    Role = BuiltInRole

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships")
    role = models.CharField(
        max_length=16, choices=BuiltInRole.choices, default=BuiltInRole.VIEWER, blank=True
    )
    custom_role = models.ForeignKey(
        CustomRole, models.RESTRICT, null=True, blank=True, related_name="memberships"
    )
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering = ("tenant", "user")
        constraints = (
            models.UniqueConstraint(fields=("tenant", "user"), name="membership_once_per_tenant"),
            _one_role("membership_has_one_role"),
        )

    def __str__(self) -> str:
        return f"{self.user} · {self.role_name}"

    @transaction.atomic
    def save(self, *args: Any, **options: Any) -> None:
        stored = Membership.objects.filter(pk=self.pk).values_list("tenant_id", "role")
        before = stored.first() if self.pk else None
        super().save(*args, **options)
        if before is not None and _is_owner(before[1]) and before != (self.tenant_id, self.role):
            keep_an_owner(before[0])


class Invitation(RoleHolder):
    """An offer of a role to whoever holds its link, which works once. Only the link's digest is kept."""

    class State(models.TextChoices):
        OPEN = "open", gettext_lazy("Open")
        USED = "used", gettext_lazy("Accepted")
        REVOKED = "revoked", gettext_lazy("Revoked")
        EXPIRED = "expired", gettext_lazy("Expired")

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="invitations")
    email = models.EmailField(
        "e-mail",
        blank=True,
        help_text=gettext_lazy(
            "The link is sent there if Tollgate can send e-mail; it is shown to you in any case."
        ),
    )
    # What is over goes with the role; a role that is still offered cannot be deleted.
    custom_role = models.ForeignKey(
        CustomRole, models.CASCADE, null=True, blank=True, related_name="invitations"
    )
    digest = models.BinaryField(max_length=32, unique=True)
    pepper_id = models.CharField(max_length=16)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True, editable=False)
    used_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
    )
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    # Whose permissions it stands on. Without them, or without the person, it opens nothing.
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
    )
    by_command = models.BooleanField(
        default=False,
        editable=False,
        help_text=gettext_lazy("Made by a command, so by an operator."),
    )
    # The public id of the API token that made it: without it, it opens nothing, either.
    made_by = models.CharField(max_length=10, blank=True, default="", db_default="", editable=False)

    class Meta:
        ordering = ("-created_at", "-pk")
        constraints = (_one_role("invitation_has_one_role"),)
        indexes = (
            models.Index(
                fields=("tenant",),
                condition=Q(used_at__isnull=True, revoked_at__isnull=True),
                name="invitations_not_over",
            ),
        )

    def __str__(self) -> str:
        return f"{self.email or 'Invitation'} · {self.role_name}"

    @property
    def state(self) -> Invitation.State:
        if self.used_at is not None:
            return self.State.USED
        if self.revoked_at is not None:
            return self.State.REVOKED
        return self.State.OPEN if self.expires_at > clock.now() else self.State.EXPIRED

    @classmethod
    def open_ones(cls) -> QuerySet[Invitation]:
        return cls.objects.filter(used_at=None, revoked_at=None, expires_at__gt=clock.now())


# The last owner


class LastOwner(ValidationError):
    """The tenant would be left without anybody who owns it."""

    def __init__(self) -> None:
        super().__init__(
            {
                "role": "The last owner of a tenant stays its owner: make somebody else an owner first."
            }
        )


_may_be_left: ContextVar[bool] = ContextVar("tenants_may_be_left_without_owner", default=False)


@contextmanager
def without_owners() -> Iterator[None]:
    """Let tenants lose their last owner within the block, for operators who asked for just that."""
    token = _may_be_left.set(True)
    try:
        yield
    finally:
        _may_be_left.reset(token)


def keep_an_owner(tenant_id: int) -> None:
    """Raise LastOwner unless the tenant has an owner who can sign in, after a change in this transaction.

    The tenant's row is held until the end of it, so that of two owners who remove each other one stays:
    the second to come here sees what the first did.
    """
    if _may_be_left.get():
        return
    Tenant.objects.select_for_update(no_key=True).filter(pk=tenant_id).values_list("pk").first()
    owners = Membership.objects.filter(tenant=tenant_id, role=BuiltInRole.OWNER)
    if not owners.filter(user__is_active=True).exists():
        raise LastOwner


def _is_owner(role: str) -> bool:
    return role == BuiltInRole.OWNER


@receiver(post_delete, sender=Membership)
def _keep_an_owner_after_deletion(instance: Membership, origin: Any = None, **_: Any) -> None:
    """Check after the rows are gone, however many at once; Django undoes them all if this raises.

    A signal, because a person's memberships go with the person, past `Membership.delete`.
    """
    began_at = origin.model if isinstance(origin, QuerySet) else type(origin)
    if began_at is not Tenant and _is_owner(instance.role):
        keep_an_owner(instance.tenant_id)
