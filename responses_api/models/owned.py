"""Define what rows of stored calls have in common: their tenant, and the status of a response."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from tenants.models import Tenant


class Status(models.TextChoices):
    """The status of a response. The last four are final."""

    QUEUED = "queued", _("Queued")
    IN_PROGRESS = "in_progress", _("In progress")
    COMPLETED = "completed", _("Completed")
    INCOMPLETE = "incomplete", _("Incomplete")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


UNFINISHED = (Status.QUEUED, Status.IN_PROGRESS)


class TenantOwned(models.Model):
    """A row of exactly one tenant."""

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="+")

    class Meta:
        abstract = True
