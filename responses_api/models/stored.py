"""Define stored responses, their items, and stored chat completions.

Everything here belongs to one tenant and is reached by (tenant, id) only. Bodies are the JSON as it was sent,
byte for byte, so that reading one never has to build it again.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from gateway_project.lib import clock
from responses_api.models.owned import Status, TenantOwned
from tenants.models import Tenant


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
