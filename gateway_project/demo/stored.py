"""Make the demo's stored responses and webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from django.db import connection

from gateway_project.demo.catalogue import ALIASES, QUESTIONS
from gateway_project.lib import ids
from gateway_project.lib.json import Json
from responses_api.models import StoredResponse, WebhookDelivery
from responses_api.storage import records
from responses_api.storage.items import identify_item
from responses_api.storage.records import StoreSpec
from responses_api.webhooks import endpoints
from routing.protocols.shared.envelope import Maker
from tenants.models import ApiKey, Tenant

CHAINS = 8
LONGEST = 4


def make_responses(random: Random, keys: Sequence[ApiKey], now: datetime) -> int:
    """Store chains of responses for these keys, one of each key with a fork."""
    count = 0
    for key in keys:
        for chain in range(CHAINS):
            at = now - timedelta(minutes=random.randrange(5, 20_000))
            length = random.randint(1, LONGEST) if chain else LONGEST
            told: list[tuple[str, str]] = []
            for turn in range(length):
                after = told[0] if chain == 0 and turn == LONGEST - 1 else (told or [("", "")])[-1]
                told.append(_store(random, key, after, at + timedelta(minutes=2 * turn)))
            count += length
    return count


def _store(random: Random, key: ApiKey, after: tuple[str, str], at: datetime) -> tuple[str, str]:
    """Store one turn after another, and return its id with that of its chain."""
    question, answer = random.choice(QUESTIONS)
    alias = random.choice(ALIASES)
    response_id = ids.response_id()
    parent, root = after
    spec = StoreSpec(
        tenant_id=key.tenant_id,
        key_public_id=key.public_id,
        model=alias.name,
        retention_days=key.tenant.retention_days,
        own_input=[identify_item(_message("user", "input_text", question))],
        parent_id=parent,
        root_id=root,
    )
    provider = alias.targets[0].partition("/")[0]
    with connection.cursor() as cursor:
        response = _response(response_id, parent, alias.name, answer, at)
        records.insert_response(cursor, spec, response, Maker(provider))
    expires_at = at + timedelta(days=key.tenant.retention_days)
    StoredResponse.objects.filter(pk=response_id).update(created_at=at, expires_at=expires_at)
    return response_id, root or response_id


def _response(response_id: str, parent: str, model: str, answer: str, at: datetime) -> Json:
    tokens = 20 + len(answer) // 4
    return {
        "id": response_id,
        "object": "response",
        "created_at": int(at.timestamp()),
        "status": "completed",
        "model": model,
        "previous_response_id": parent or None,
        "output": [identify_item(_message("assistant", "output_text", answer))],
        "usage": {"input_tokens": 24, "output_tokens": tokens, "total_tokens": 24 + tokens},
        "metadata": {},
        "store": True,
    }


def _message(role: str, kind: str, text: str) -> Json:
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def make_webhooks(tenants: Sequence[Tenant], now: datetime) -> int:
    """Give tenants an endpoint, with deliveries that arrived and one that was given up."""
    for tenant in tenants:
        url = f"https://hooks.{tenant.slug}.example/tollgate"
        endpoint, _ = endpoints.create(tenant, url, events=["response.completed"])
        for place in range(20):
            is_given_up = place == 3
            at = now - timedelta(hours=place)
            # Deliveries are listed by their ids, which begin with the time.
            number = ids.first_uuid7(at).int | ids.uuid7().int & (1 << 80) - 1
            WebhookDelivery.objects.create(
                id=UUID(int=number),
                tenant=tenant,
                endpoint=endpoint,
                event_id=f"evt_{ids.base62(24)}",
                event_type="response.completed",
                response_id=ids.response_id(),
                payload=b"{}",
                state="given_up" if is_given_up else "delivered",
                attempts=8 if is_given_up else 1,
                last_status=503 if is_given_up else 200,
                last_error="HTTP 503" if is_given_up else "",
                created_at=at,
                ended_at=at + timedelta(seconds=1),
            )
    return len(tenants)
