"""Define conversations and their items."""

from __future__ import annotations

from django.db import models

from gateway_project.lib import clock
from responses_api.models.owned import TenantOwned


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
