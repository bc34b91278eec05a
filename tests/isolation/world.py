"""Two tenants who have stored the same kinds of things, the one's full of a word that must not get out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import connection

from gateway_project.lib import clock
from responses_api.storage import conversations
from routing.models import Provider
from tests.support import rows, stored, usage_rows
from tests.support.rows import Customer
from tests.support.stored import assistant, user

CANARY = "canary-7f3a"
UNKNOWN = {
    "response": "resp_" + "0" * 48,
    "item": "msg_" + "0" * 48,
    "conversation": "conv_" + "0" * 48,
    "conversation_item": "msg_" + "0" * 48,
    "completion": "chatcmpl-" + "0" * 32,
    "message": "chatcmpl-" + "0" * 32 + "-0",
    "model": "no-such-model",
}


@dataclass(frozen=True, slots=True)
class Belongings:
    """All that one tenant has: ids by kind, several where a kind is stored in several places."""

    owner: Customer
    ids: dict[str, tuple[str, ...]]


def furnish(owner: Customer, word: str) -> Belongings:
    """A response with a run, a conversation, a completion, an alias and usage, all of them full of `word`."""
    given, answer = user(word), assistant(word)
    response = stored.response(owner, given, output=[answer], background=True)
    stored.run(owner, response["id"], "completed", b'data: {"%b": 1}\n\n' % word.encode())
    items = _item_ids(response["id"])
    conversation = conversations.create(
        owner.tenant.pk, [user(word), assistant(word)], {"word": word}
    )
    completion = stored.completion(owner, user(word), answer=word, metadata={"word": word})
    address = Provider.objects.get(name="sandbox-responses").base_url
    provider = rows.provider("responses", address, f"{owner.tenant.slug}s", tenant=owner.tenant)
    rows.alias(f"only-{owner.tenant.slug}", (provider, word), tenant=owner.tenant)
    usage_rows.usage(
        owner.tenant, clock.now(), alias=f"only-{owner.tenant.slug}", upstream_model=word
    )
    return Belongings(
        owner,
        {
            "response": (response["id"],),
            "item": items,
            "conversation": (conversation["id"],),
            "conversation_item": _conversation_item_ids(conversation["id"]),
            "completion": (completion["id"],),
            "message": (f"{completion['id']}-0",),
            "model": (f"only-{owner.tenant.slug}",),
        },
    )


def everything(owner: Customer) -> list[str]:
    """All rows of a tenant, as text, in a fixed order: past the models, which would take most of the time."""
    found: list[str] = []
    with connection.cursor() as cursor:
        for meta in (model._meta for model in apps.get_models() if _is_owned(model)):
            key = meta.pk.column
            cursor.execute(
                f'SELECT * FROM "{meta.db_table}" WHERE tenant_id = %s ORDER BY "{key}"',
                [owner.tenant.pk],
            )
            found += [f"{meta.db_table} {row}" for row in cursor.fetchall()]
    return found


def _is_owned(model: Any) -> bool:
    return any(field.name == "tenant" for field in model._meta.fields)


def _item_ids(response_id: str) -> tuple[str, ...]:
    items = apps.get_model("responses_api", "StoredItem").objects.filter(response=response_id)
    return tuple(items.order_by("side").values_list("item_id", flat=True))


def _conversation_item_ids(conversation_id: str) -> tuple[str, ...]:
    items = apps.get_model("responses_api", "ConversationItem").objects
    found = items.filter(conversation=conversation_id).order_by("-position")
    return tuple(found.values_list("item_id", flat=True))
