"""Define the audit log: its events, the chains that join them, and the signed checkpoints of these.

tenants/triggers.py refuses every change of what is written here but the ones the log itself makes.
"""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from gateway_project.lib import clock, ids
from tenants.models.accounts import Tenant

PLATFORM = 0  # the chain of what belongs to no tenant


class AuditEvent(models.Model):
    """Something that somebody did. Written with the change itself; its place in the chain follows the commit
    (tenants/audit/chain.py), and until then `sequence` is empty.

    Events outlive their tenant. `changes` and `details` are JSON as text, because their bytes are hashed.
    """

    class ActorKind(models.TextChoices):
        PERSON = "person", _("Person")
        TOKEN = "token", _("API token")
        COMMAND = "command", _("Command")
        SYSTEM = "system", _("Tollgate itself")

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    chain = models.BigIntegerField(help_text=_("The tenant's id, or 0 for the platform."))
    tenant = models.ForeignKey(
        Tenant, models.DO_NOTHING, db_constraint=False, db_index=False, null=True, related_name="+"
    )
    sequence = models.BigIntegerField(null=True)
    at = models.DateTimeField(default=clock.now)
    actor_kind = models.CharField(max_length=8, choices=ActorKind.choices)
    actor_id = models.CharField(max_length=200)
    actor_name = models.CharField(max_length=200)
    address = models.CharField(max_length=64, blank=True)
    reason = models.CharField(max_length=300, blank=True)
    action = models.CharField(max_length=64)
    object_type = models.CharField(max_length=40, blank=True)
    object_id = models.CharField(max_length=64, blank=True)
    object_name = models.CharField(max_length=300, blank=True)
    changes = models.TextField(default="{}")
    details = models.TextField(default="{}")
    previous_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ("-id",)  # the order in which they were made
        constraints = (
            models.UniqueConstraint(fields=("chain", "sequence"), name="audit_place_once"),
            models.CheckConstraint(
                condition=Q(chain=Coalesce(F("tenant_id"), Value(PLATFORM))),
                name="audit_chain_is_the_tenants",
            ),
        )
        indexes = (
            models.Index(
                fields=("chain", "id"), name="audit_unchained", condition=Q(sequence=None)
            ),
            # What lists are filtered by, for all tenants together and for one. `id` is in order of time.
            models.Index(fields=("tenant", "id"), name="audit_of_tenant"),
            models.Index(fields=("action", "id"), name="audit_action"),
            models.Index(fields=("tenant", "action", "id"), name="audit_action_of_tenant"),
            models.Index(fields=("actor_name", "id"), name="audit_actor"),
            models.Index(fields=("tenant", "actor_name", "id"), name="audit_actor_of_tenant"),
            models.Index(fields=("object_id", "id"), name="audit_object"),
            models.Index(fields=("tenant", "object_id", "id"), name="audit_object_of_tenant"),
        )

    def __str__(self) -> str:
        return f"{self.action} {self.object_name}".rstrip()


class AuditChain(models.Model):
    """The end of a chain, and up to where its events may have been pruned."""

    chain = models.BigIntegerField(primary_key=True)
    last_sequence = models.BigIntegerField(default=0)
    last_hash = models.CharField(max_length=64, blank=True)
    pruned_sequence = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.chain}: {self.last_sequence}"


class AuditCheckpoint(models.Model):
    """A signed statement: at this time, the event of this number in the chain had this hash."""

    chain = models.BigIntegerField()
    sequence = models.BigIntegerField()
    hash = models.CharField(max_length=64)
    at = models.DateTimeField()
    key_id = models.CharField(max_length=16)
    signature = models.CharField(max_length=64)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("chain", "sequence"), name="audit_checkpoint_once_per_place"
            ),
        )

    def __str__(self) -> str:
        return f"{self.chain}: {self.sequence}"


class AuditPosition(models.Model):
    """Remember how far a chain has been handed on to a receiver."""

    receiver = models.CharField(max_length=16)
    chain = models.BigIntegerField()
    sequence = models.BigIntegerField(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("receiver", "chain"), name="audit_position_once"),
        )

    def __str__(self) -> str:
        return f"{self.receiver} {self.chain}: {self.sequence}"


class FailedSignIns(models.Model):
    """Failed sign-ins of one minute, from one address, as one account (0: an unknown one), until they become
    one event (tenants/audit/sign_ins.py)."""

    minute = models.DateTimeField()
    address = models.CharField(max_length=64, blank=True)
    user_id = models.BigIntegerField(default=0)
    count = models.PositiveIntegerField(default=1)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("minute", "address", "user_id"), name="failed_sign_ins_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.count} from {self.address}"
