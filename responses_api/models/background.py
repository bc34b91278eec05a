"""Define runs of responses, their events, and when periodic work was done last."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from gateway_project.lib import clock
from responses_api.models.owned import UNFINISHED, Status, TenantOwned
from responses_api.models.stored import StoredResponse
from tenants.models import Tenant


class Run(TenantOwned):
    """A response being made whose events are stored: in the background, or as a resumable stream.

    State moves by compare-and-set on (`status`, `owner`, `last_number`), so that of two processes that
    believe they own it only one can write. The owner renews `lease_until`; a run whose lease has expired is
    taken over if it is queued, and fails once its upstream was asked.
    """

    response = models.OneToOneField(
        StoredResponse, models.CASCADE, primary_key=True, db_constraint=False, related_name="run"
    )
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.QUEUED)
    streams = models.BooleanField(default=False, help_text=_("Whether its events are stored."))
    request = models.BinaryField(
        default=b"", help_text=_("What a worker needs to run it; empty once it has ended.")
    )
    owner = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    suspected_at = models.DateTimeField(
        null=True, blank=True, help_text=_("When its lease was first seen to have expired.")
    )
    last_number = models.IntegerField(
        default=-1, help_text=_("The sequence number of the last stored event.")
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    queued_at = models.DateTimeField(default=clock.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (
            models.Index(
                fields=("status", "lease_until"),
                name="run_unfinished",
                condition=Q(status__in=UNFINISHED),
            ),
        )

    def __str__(self) -> str:
        return f"{self.response_id} ({self.status})"


class EventChunk(TenantOwned):
    """Events of a run as they were sent: whole SSE events `first` to `last`, joined."""

    # Reached by run and number only, whose index is the constraint below.
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="+", db_index=False)
    run = models.ForeignKey(
        Run, models.CASCADE, db_constraint=False, db_index=False, related_name="chunks"
    )
    first = models.PositiveIntegerField()
    last = models.PositiveIntegerField()
    events = models.BinaryField()

    class Meta:
        ordering = ("run", "first")
        constraints = (models.UniqueConstraint(fields=("run", "first"), name="event_once"),)

    def __str__(self) -> str:
        return f"{self.run_id} {self.first}-{self.last}"


class PeriodicJob(models.Model):
    """The time at which a job that no tenant owns is next due; whoever advances `next_at` does the job."""

    name = models.CharField(primary_key=True, max_length=64)
    next_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
