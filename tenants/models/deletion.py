"""Record the deletion of a tenant: who asked, how far it is, and what was erased."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from gateway_project.lib import clock
from tenants.audit.querysets import RecordedModel
from tenants.models.accounts import Tenant


class TenantDeletion(RecordedModel):
    """The deletion of a tenant, from when it is asked for on; it is never undone.

    `counts` are erased rows by model, and digested rows of the ledger. `next_sweep_at` is when rows are to be
    looked for again; a tenant that is gone is looked at a few times more, because calls that were running may
    have written something.
    """

    class State(models.TextChoices):
        RUNNING = "running", _("Erasing")
        DONE = "done", _("Done")

    tenant = models.OneToOneField(Tenant, models.PROTECT, related_name="deletion")
    state = models.CharField(max_length=8, choices=State.choices, default=State.RUNNING)
    asked_by = models.CharField(max_length=200)
    asked_at = models.DateTimeField(default=clock.now)
    tombstone = models.CharField(max_length=63, help_text=_("The slug its row has in the end."))
    counts = models.JSONField(default=dict)
    finished_at = models.DateTimeField(null=True)
    sweeps = models.PositiveSmallIntegerField(
        default=0, help_text=_("How often all was looked through.")
    )
    next_sweep_at = models.DateTimeField(null=True, default=clock.now)
    runner = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-asked_at",)
        verbose_name = _("deletion of a tenant")
        verbose_name_plural = _("deletions of tenants")

    def __str__(self) -> str:
        return f"{self.tenant}: {self.get_state_display().lower()}"
