"""Addresses of console pages, and the forms a browser would send to them."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.utils import quote
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from responses_api.models import (
    Conversation,
    GuardrailEvent,
    StoredResponse,
    WebhookDelivery,
)
from tenants.models import (
    ApiKey,
    AuditEvent,
    BillingPeriod,
    ConsoleSession,
    CreditTransaction,
    Invitation,
    Invoice,
    LongTask,
    PriceVersion,
    SupportSession,
    TenantDeletion,
    UsageDay,
    UsageHour,
    UsageRow,
)
from tests.console.world import CANARY

# What the gateway writes and nobody else: pages without a form, and without a way to delete.
WRITTEN_BY_US = {
    AuditEvent,
    BillingPeriod,
    ConsoleSession,
    Conversation,
    GuardrailEvent,
    Invoice,
    LongTask,
    StoredResponse,
    TenantDeletion,
    UsageDay,
    UsageHour,
    UsageRow,
    WebhookDelivery,
}
KEPT_BY_US = {
    ApiKey,  # revoked, not deleted
    AuditEvent,
    BillingPeriod,
    CreditTransaction,
    GuardrailEvent,
    Invitation,
    Invoice,
    LongTask,  # which ends by itself
    PriceVersion,  # what is published stays
    SupportSession,
    TenantDeletion,
    UsageDay,
    UsageHour,
    UsageRow,
    WebhookDelivery,
}


def url(model: type[Model] | Model, page: str) -> str:
    """The page `add` or `changelist` of a model; `change`, `history` or `delete` of a row."""
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}"
    return reverse(name) if isinstance(model, type) else reverse(name, args=(quote(model.pk),))


def text(response: Any) -> str:
    """Return all that came back, headers included."""
    whole = b"".join(response.streaming_content) if response.streaming else response.content
    body: str = whole.decode(errors="replace")  # a document is no text
    return body + "".join(f"\n{name}: {value}" for name, value in response.items())


def queries_of(client: Client, address: str, most: int) -> list[str]:
    """Return the queries of a page that opens. Where they are more it is asked again: content types and the
    like are read once a process.
    """
    for _time in range(2):
        with CaptureQueriesContext(connection) as captured:
            answer = client.get(address)
            text(answer)  # files ask while they are read
        if len(captured) <= most:
            break
    assert answer.status_code == 200, address
    return [each["sql"] for each in captured]


def assert_clean(response: Any) -> None:
    """Nothing of tenant B's is in the answer."""
    assert CANARY not in text(response).lower()


def formset(prefix: str, *forms: dict[str, Any], initial: int = 0) -> dict[str, Any]:
    """An inline's fields as posted; the first `initial` forms are rows that exist."""
    posted: dict[str, Any] = {
        f"{prefix}-TOTAL_FORMS": len(forms),
        f"{prefix}-INITIAL_FORMS": initial,
    }
    for number, form in enumerate(forms):
        posted |= {f"{prefix}-{number}-{name}": value for name, value in form.items()}
    return posted


def act(client: Client, model: type[Model], action: str, *chosen: Model, **posted: Any) -> Any:
    """Run a list's action; pass post="yes" to confirm it."""
    chosen_ids = [row.pk for row in chosen]
    data = {"action": action, "_selected_action": chosen_ids, **posted}
    return client.post(url(model, "changelist"), data)


def do(client: Client, row: Model, action: str, **posted: Any) -> Any:
    """Take an action of a row's page, as its confirmation does."""
    return client.post(action_address(row, action), posted)


def action_address(row: Model, action: str) -> str:
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_do"
    return reverse(name, args=(quote(row.pk), action))


def key_form(**fields: Any) -> dict[str, Any]:
    return {
        "name": "new key",
        "scopes": ["generate"],
        "all_aliases": "on",
        "allowed_networks": "",
        **formset("secrets"),
        **fields,
    }


def provider_form(**fields: Any) -> dict[str, Any]:
    return {
        "name": "new-provider",
        "protocol": "chat",
        "base_url": "https://api.example/v1",
        "auth_kind": "bearer",
        "enabled": "on",
        **fields,
    }


def credential_form(**fields: Any) -> dict[str, Any]:
    return {
        "name": "new credential",
        "secret": "sk-posted-secret-12345",
        "weight": 100,
        "enabled": "on",
        **fields,
    }


def endpoint_form(**fields: Any) -> dict[str, Any]:
    return {"url": "https://new.example/hook", "enabled": "on", **fields}


def alias_form(*targets: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "name": "new-alias",
        "responses_mode": "auto",
        "strategy": "weighted",
        "affinity": "cache",
        "affinity_seconds": 600,
        "max_attempts": 3,
        "wait_seconds": 5,
        "cache_seconds": 0,
        "cache_scope": "key",
        "cache_charge_percent": 0,
        "enabled": "on",
        **formset("targets", *({"weight": 100, "enabled": "on", **each} for each in targets)),
        **fields,
    }


def price_form(*lines: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "book": "charge",
        "model": "new-alias",
        "effective_from_0": "2999-01-01",
        "effective_from_1": "00:00:00",
        **formset("lines", *lines),
        **fields,
    }
