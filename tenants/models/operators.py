"""The people of the platform: who reads all of it, and when an operator acted as a tenant."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from gateway_project.lib import clock
from tenants.audit.querysets import RecordedModel
from tenants.models.accounts import Tenant
from tenants.models.members import BuiltInRole


class PlatformRole(RecordedModel):
    """Give somebody who is no operator, so no superuser, a role on the whole platform."""

    class Role(models.TextChoices):
        AUDITOR = "auditor", _("Auditor: reads everything but prompts and answers")

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="platform_role"
    )
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.AUDITOR)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering = ("user",)

    def __str__(self) -> str:
        return f"{self.user} · {self.role}"


class SupportSession(RecordedModel):
    """A time in which an operator acts as a tenant, in one of its roles and with a reason. It is kept."""

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="support_sessions")
    operator = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
    )
    operator_name = models.CharField(max_length=150, editable=False)
    role = models.CharField(max_length=16, choices=BuiltInRole.choices, default=BuiltInRole.VIEWER)
    reason = models.CharField(max_length=300)
    started_at = models.DateTimeField(default=clock.now, editable=False)
    ends_at = models.DateTimeField(
        editable=False, help_text=_("When it ends by itself, or ended before that.")
    )

    class Meta:
        ordering = ("-started_at", "-pk")
        indexes = (models.Index(fields=("tenant", "-started_at"), name="support_of_tenant"),)

    def __str__(self) -> str:
        return f"{self.operator_name} as {self.role}"
