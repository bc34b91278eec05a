"""The tables of the API: what is stored of calls, who is told of their end, and what may not pass."""

from responses_api.models.background import EventChunk, PeriodicJob, Run
from responses_api.models.conversations import Conversation, ConversationItem
from responses_api.models.guardrails import Guardrail, GuardrailEvent
from responses_api.models.owned import UNFINISHED, Status, TenantOwned
from responses_api.models.repeated import CachedAnswer, IdempotentCall
from responses_api.models.stored import StoredCompletion, StoredItem, StoredResponse
from responses_api.models.webhooks import WebhookDelivery, WebhookEndpoint

__all__ = [
    "UNFINISHED",
    "CachedAnswer",
    "Conversation",
    "ConversationItem",
    "EventChunk",
    "Guardrail",
    "GuardrailEvent",
    "IdempotentCall",
    "PeriodicJob",
    "Run",
    "Status",
    "StoredCompletion",
    "StoredItem",
    "StoredResponse",
    "TenantOwned",
    "WebhookDelivery",
    "WebhookEndpoint",
]
