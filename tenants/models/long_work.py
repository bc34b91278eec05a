"""Keep long work that people ask for, how far it is, and the files it writes."""

from __future__ import annotations

from uuid import UUID

from django.db import models
from django.utils.translation import gettext_lazy as _

from gateway_project.lib import clock, ids
from tenants.models.accounts import Tenant


def new_task_id() -> UUID:
    return ids.uuid7()


class LongTask(models.Model):
    """Work that goes on when its page is left, in steps that any process may take.

    `tenant` is whose data it is about; empty for that of all. What operators ask for may tell more than
    tenants are shown, so `is_operators` hides the task from these. `place` is where the next step begins,
    `parameters` what was asked for, `result` figures that its kind knows (tenants/long_work/kinds.py).
    """

    class Kind(models.TextChoices):
        USAGE_EXPORT = "usage_export", _("Export of requests")
        RERATING = "rerating", _("Re-rating")
        PURGE = "purge", _("Purge")

    class State(models.TextChoices):
        QUEUED = "queued", _("Queued")
        RUNNING = "running", _("Running")
        WAITING = "waiting", _("To be confirmed")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")

    id = models.UUIDField(primary_key=True, default=new_task_id, editable=False)
    kind = models.CharField(max_length=24, choices=Kind.choices)
    tenant = models.ForeignKey(Tenant, models.CASCADE, null=True, related_name="+")
    is_operators = models.BooleanField(default=False)
    state = models.CharField(max_length=12, choices=State.choices, default=State.QUEUED)
    asked_by = models.CharField(max_length=200)
    asked_at = models.DateTimeField(default=clock.now)
    parameters = models.JSONField(default=dict)
    place = models.JSONField(default=dict)
    done = models.PositiveBigIntegerField(default=0)
    expected = models.PositiveBigIntegerField(null=True)
    result = models.JSONField(default=dict)
    error = models.CharField(max_length=300, blank=True)
    failures = models.PositiveSmallIntegerField(default=0)
    bytes = models.PositiveBigIntegerField(default=0, help_text=_("Of its file, compressed."))
    next_at = models.DateTimeField(null=True, default=clock.now)
    runner = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(
        null=True, help_text=_("When it is erased, with its file if it has one.")
    )

    class Meta:
        ordering = ("-id",)
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        indexes = (
            models.Index(
                fields=("next_at",),
                condition=models.Q(next_at__isnull=False),
                name="long_task_due",
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()}, {self.asked_at:%Y-%m-%d %H:%M} UTC"

    @property
    def is_over(self) -> bool:
        return self.state in {self.State.DONE, self.State.FAILED, self.State.CANCELLED}

    @property
    def has_file(self) -> bool:
        return self.state == self.State.DONE and self.bytes > 0


class TaskPiece(models.Model):
    """A part of a task's file, compressed by itself: gzip files in a row are one gzip file."""

    task = models.ForeignKey(LongTask, models.CASCADE, related_name="pieces", db_index=False)
    number = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        ordering = ("task", "number")
        verbose_name = _("piece of a file")
        verbose_name_plural = _("pieces of files")
        constraints = (models.UniqueConstraint(fields=("task", "number"), name="piece_once"),)

    def __str__(self) -> str:
        return f"{self.task_id} {self.number}"
