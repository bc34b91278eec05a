"""The tables of the API: what is stored of calls, who is told of their end, and what may not pass."""

from responses_api.models.guardrails import Guardrail, GuardrailEvent
from responses_api.models.stored import (
    UNFINISHED,
    CachedAnswer,
    Conversation,
    ConversationItem,
    EventChunk,
    IdempotentCall,
    PeriodicJob,
    Run,
    Status,
    StoredCompletion,
    StoredItem,
    StoredResponse,
    TenantOwned,
    WebhookDelivery,
    WebhookEndpoint,
)

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
