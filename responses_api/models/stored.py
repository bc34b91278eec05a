"""Tables of stored conversations: responses, their items and events, and who waits for them.

Everything here belongs to one tenant and is reached by (tenant, id) only. Bodies are the JSON as it was sent,
byte for byte, so that reading one never has to build it again.
"""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gateway_project.lib import clock, ids
from responses_api import validators
from tenants.audit.querysets import RecordedModel
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


class StoredResponse(TenantOwned):
    """A Response that a client may ask for again or continue from.

    `parent_id` is the response it continues, `root_id` the first of its chain; forks share both. They are not
    foreign keys: rows are written many at a time and never depend on the order. `body` is the Response
    without `output`, whose items are rows of their own. `expires_at` applies to the whole chain: a response
    is kept as long as a younger one builds on it.
    """

    # Its index is part of those below; every stored call pays for each.
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="+", db_index=False)
    id = models.CharField(primary_key=True, max_length=64)
    parent_id = models.CharField(max_length=64, blank=True)
    root_id = models.CharField(max_length=64)
    conversation_id = models.CharField(max_length=64, blank=True)
    conversation_until = models.PositiveBigIntegerField(
        default=0, help_text=_("It was given the items of its conversation before this position.")
    )
    key_public_id = models.CharField(max_length=10, help_text=_("The API key that made it."))
    model = models.CharField(max_length=300, help_text=_("The name the client asked for."))
    provider = models.CharField(
        max_length=100, blank=True, help_text=_("The provider that answered it.")
    )
    # The id of the credential it was asked with, whose account alone can open what it sealed.
    account = models.CharField(max_length=36, blank=True, default="", db_default="")
    status = models.CharField(max_length=16, choices=Status.choices)
    background = models.BooleanField(default=False)
    body = models.BinaryField()
    created_at = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ("-created_at",)
        indexes = (
            models.Index(fields=("-created_at",), name="response_newest"),
            models.Index(
                fields=("status", "-created_at"),
                name="response_unusual",
                condition=~Q(status=Status.COMPLETED),
            ),
            models.Index(
                fields=("tenant", "status", "-created_at"),
                name="response_unusual_of_tenant",
                condition=~Q(status=Status.COMPLETED),
            ),
            models.Index(fields=("tenant", "-created_at"), name="response_newest_of_tenant"),
            models.Index(fields=("root_id", "expires_at"), name="response_chain_expiry"),
            models.Index(fields=("expires_at",), name="response_expiry"),
        )

    def __str__(self) -> str:
        return self.id


class StoredItem(TenantOwned):
    """An item a response was given (`input`) or gave (`output`), as JSON with an id.

    The same item may be part of several responses, because clients send back what they got.
    """

    class Side(models.IntegerChoices):
        INPUT = 0, _("Input")
        OUTPUT = 1, _("Output")

    # Indexes of their own would cost every stored call and are covered by those below.
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="+", db_index=False)
    response = models.ForeignKey(
        StoredResponse,
        models.CASCADE,
        db_constraint=False,
        db_index=False,
        related_name="items",
    )
    side = models.PositiveSmallIntegerField(choices=Side.choices)
    position = models.PositiveIntegerField()
    item_id = models.CharField(max_length=200)
    body = models.BinaryField()

    class Meta:
        ordering = ("response", "side", "position")
        constraints = (
            models.UniqueConstraint(
                fields=("response", "side", "position"), name="item_once_per_place"
            ),
        )
        indexes = (models.Index(fields=("tenant", "item_id"), name="item_of_tenant"),)

    def __str__(self) -> str:
        return self.item_id


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


class Conversation(TenantOwned):
    """A list of items that responses read and append to.

    `next_position` is raised in the transaction that appends, so that what two responses append at the same
    time stays together.
    """

    id = models.CharField(primary_key=True, max_length=64)
    metadata = models.JSONField(default=dict, blank=True)
    next_position = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering = ("-created_at",)
        indexes = (
            models.Index(fields=("-created_at",), name="conversation_newest"),
            models.Index(fields=("tenant", "-created_at"), name="conversation_newest_of_tenant"),
        )

    def __str__(self) -> str:
        return self.id


class ConversationItem(TenantOwned):
    """One item of a conversation. `provider` made it, asked with the credential `account`; empty if none
    did."""

    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="items")
    position = models.PositiveBigIntegerField()
    item_id = models.CharField(max_length=200)
    provider = models.CharField(max_length=100, blank=True)
    account = models.CharField(max_length=36, blank=True, default="", db_default="")
    body = models.BinaryField()

    class Meta:
        ordering = ("conversation", "position")
        constraints = (
            models.UniqueConstraint(
                fields=("conversation", "position"), name="conversation_item_once_per_place"
            ),
        )
        indexes = (
            models.Index(fields=("conversation", "item_id"), name="conversation_item_by_id"),
            models.Index(fields=("tenant", "item_id"), name="conversation_item_of_tenant"),
        )

    def __str__(self) -> str:
        return self.item_id


class StoredCompletion(TenantOwned):
    """A chat completion that was asked to be stored, and the messages it answered.

    `body` is the completion without `metadata`, which has a column of its own because a client may replace
    it.
    """

    id = models.CharField(primary_key=True, max_length=64)
    key_public_id = models.CharField(max_length=10)
    model = models.CharField(max_length=300)
    metadata = models.JSONField(default=dict, blank=True)
    messages = models.BinaryField()
    body = models.BinaryField()
    created_at = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ("-created_at",)
        indexes = (
            models.Index(fields=("tenant", "created_at", "id"), name="completion_of_tenant"),
            models.Index(fields=("expires_at",), name="completion_expiry"),
        )

    def __str__(self) -> str:
        return self.id


class IdempotentCall(TenantOwned):
    """The one call behind an Idempotency-Key, and its answer once there is one.

    While it runs, `owner` renews `lease_until`; a key whose owner died is free again.
    """

    class State(models.TextChoices):
        RUNNING = "running", _("Running")
        ANSWERED = "answered", _("Answered")
        FAILED = "failed", _("Failed: the key is free")

    key_digest = models.BinaryField(max_length=32)
    request_digest = models.BinaryField(max_length=32)
    state = models.CharField(max_length=16, choices=State.choices, default=State.RUNNING)
    owner = models.CharField(max_length=64)
    lease_until = models.DateTimeField()
    http_status = models.PositiveSmallIntegerField(default=0)
    headers = models.JSONField(default=dict, blank=True)
    answer = models.BinaryField(default=b"")
    created_at = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("tenant", "key_digest"), name="idempotency_key_once"),
        )
        indexes = (models.Index(fields=("expires_at",), name="idempotent_call_expiry"),)

    def __str__(self) -> str:
        return f"{self.tenant_id} {self.state}"


class CachedAnswer(TenantOwned):
    """An answer that is given again to equal requests until it expires (docs/cache.md).

    `key` is a digest of all that makes requests equal. The answer is sealed for its tenant and this key.
    `key_id` is the API key that asked for it; once that is revoked the answer is not given again. Neither
    that nor `alias_id` is a foreign key, so that writing an answer waits for no row of the configuration.
    """

    # Its index is part of that below.
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="+", db_index=False)
    key = models.BinaryField(primary_key=True, max_length=32)
    key_id = models.BigIntegerField()
    alias_id = models.BigIntegerField()
    generation = models.PositiveBigIntegerField(
        help_text=_("The number of the alias's purges when it was made.")
    )
    size = models.PositiveIntegerField(help_text=_("Bytes of the sealed answer."))
    sealed_answer = models.TextField()
    created_at = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField()

    class Meta:
        indexes = (
            # With the size, so that a tenant's sum is read from the index alone.
            models.Index(fields=("tenant", "created_at", "size"), name="cached_answer_of_tenant"),
            models.Index(fields=("expires_at",), name="cached_answer_expiry"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(sealed_answer__startswith="v1."), name="cached_answer_is_sealed"
            ),
        )

    def __str__(self) -> str:
        return f"{self.tenant_id} {bytes(self.key).hex()[:12]}"


class WebhookEndpoint(TenantOwned, RecordedModel):
    """A tenant's URL that is told of events, such as the end of a background response.

    Its secret is sealed for this very row (webhooks/endpoints.py) and shown once. After a rotation the old
    secret goes on signing beside the new one for a while.
    """

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    url = models.CharField(
        "URL",
        max_length=500,
        validators=[validators.validate_webhook_url],
        help_text=_("For example https://example.com/webhooks."),
    )
    events = models.JSONField(
        default=list,
        blank=True,
        validators=[validators.validate_webhook_events],
        help_text=_("Empty means all events."),
    )
    sealed_secret = models.TextField(editable=False)
    sealed_old_secret = models.TextField(blank=True, editable=False)
    old_secret_until = models.DateTimeField(null=True, blank=True, editable=False)
    allow_private_network = models.BooleanField(
        default=False,
        help_text=_("Allow a private or loopback address. Only operators may change this."),
    )
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering = ("tenant", "url")
        constraints = (
            models.CheckConstraint(
                condition=Q(sealed_secret__startswith="v1."), name="webhook_secret_is_sealed"
            ),
            models.CheckConstraint(
                condition=Q(sealed_old_secret="") | Q(sealed_old_secret__startswith="v1."),
                name="webhook_old_secret_is_sealed",
            ),
        )

    def __str__(self) -> str:
        return self.url

    def clean(self) -> None:
        if not self.allow_private_network and not self.url.lower().startswith("https://"):
            raise ValidationError({"url": gettext("The address must begin with https://.")})


class WebhookDelivery(TenantOwned):
    """One event on its way to one endpoint, and its result so far."""

    class State(models.TextChoices):
        PENDING = "pending", _("Pending")
        DELIVERED = "delivered", _("Delivered")
        GIVEN_UP = "given_up", _("Given up")

    id = models.UUIDField(primary_key=True, default=ids.uuid7, editable=False)
    endpoint = models.ForeignKey(WebhookEndpoint, models.CASCADE, related_name="deliveries")
    event_id = models.CharField(max_length=64)
    event_type = models.CharField(max_length=64)
    response_id = models.CharField(max_length=64)
    payload = models.BinaryField()
    state = models.CharField(max_length=16, choices=State.choices, default=State.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=clock.now)
    last_status = models.PositiveSmallIntegerField(null=True, blank=True)
    last_error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)  # the order in which they were made
        verbose_name_plural = _("webhook deliveries")
        constraints = (
            models.UniqueConstraint(fields=("endpoint", "event_id"), name="webhook_once_per_event"),
        )
        indexes = (
            models.Index(
                fields=("next_attempt_at",), name="webhook_pending", condition=Q(state="pending")
            ),
            # Few: what the console tells of as needing somebody.
            models.Index(
                fields=("created_at", "tenant"),
                name="webhook_given_up",
                condition=Q(state="given_up"),
            ),
            models.Index(fields=("tenant", "id"), name="webhook_newest_of_tenant"),
            models.Index(fields=("endpoint", "id"), name="webhook_newest_of_endpoint"),
        )

    def __str__(self) -> str:
        return f"{self.event_type} → {self.endpoint.url}"


class PeriodicJob(models.Model):
    """The time at which a job that no tenant owns is next due; whoever advances `next_at` does the job."""

    name = models.CharField(primary_key=True, max_length=64)
    next_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
