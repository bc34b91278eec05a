"""Resolve what a call continues from and whether its answer is stored, before anything is sent.

store            the request's word, else the alias's, else the tenant's, within what the key may do
    history          a chain of responses, a conversation, or nothing; put before the request's own input
    item_reference   replaced by the tenant's stored item
    call_id          of every output must belong to a call that is part of the conversation

Upstreams never see any of it: they get one stateless conversation (docs/responses.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from django.conf import settings
from msgspec import Struct, structs

from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.db import in_database_thread
from gateway_project.lib.errors import (
    BadRequest,
    ConversationNotFound,
    InvalidEncryptedContent,
    ItemNotFound,
    PermissionDenied,
    PreviousResponseNotFound,
    RequestTooComplex,
    Unavailable,
)
from gateway_project.lib.json import Json
from responses_api.compaction import sealed
from responses_api.compaction.request import is_triggered
from responses_api.doors.registry import DOORS
from responses_api.doors.responses import canonical as responses_canonical
from responses_api.doors.responses.request import conversation_id
from responses_api.doors.shapes import Compaction, ModelCall, check_sealed, rename_param
from responses_api.services import Services
from responses_api.storage import chains
from responses_api.storage.chains import Chain
from responses_api.storage.records import StoreSpec, own_input
from responses_api.storage.stores import CompletionStore
from routing.credentials import keyring
from routing.route import Route
from tenants.keys.caller import Caller

NO_HISTORY = Chain(root_id="", items=[])


class Memory(Protocol):
    """Responses that are remembered elsewhere than in the database, as on a WebSocket."""

    def recall(self, response_id: str) -> Chain | None:
        """Return what was said up to this response; None if it is not remembered."""


class Resolved(Struct, frozen=True):
    """A call with its history, and how its answer is stored (None: not at all).

    `echo` are the fields of the Response that say so; `own_items` is the request's own input as items,
    `given` its body as it came.
    """

    call: ModelCall
    store_spec: StoreSpec | None
    echo: Json
    history: Chain
    own_items: list[Json]
    given: Json


async def resolve(
    services: Services, caller: Caller, route: Route, call: ModelCall, memory: Memory | None = None
) -> Resolved:
    """Resolve what the call continues from. Raise BadRequest naming the field, PermissionDenied or
    Unavailable."""
    stored = is_stored(caller, route, call.body)
    if stored and not can_store(services):
        raise cannot_store()
    body = call.body
    parent_id, named = body.get("previous_response_id") or "", conversation_id(body)
    if parent_id or named or call.references:
        call, history, items = await _expand(caller, call, parent_id, named, memory)
    else:
        history, items = NO_HISTORY, body.get("input")
    _check_outputs(call.body.get("input"), len(history.items))
    compacts = DOORS[call.door].compacts
    own_items = own_input(items) if stored or memory is not None or compacts else []
    call = _with_compaction(caller, call, history, own_items, stored=stored)
    echo = _echo(body, parent_id, named, stored=stored)
    store_spec = _store_spec(caller, call, history, own_items, echo) if stored else None
    return Resolved(call, store_spec, echo, history, own_items, body)


def _with_compaction(
    caller: Caller, call: ModelCall, history: Chain, own_items: list[Json], *, stored: bool
) -> ModelCall:
    """Open the summaries that come back with the call, and add what it takes to make one.

    A stored response is continued by its id: the items before the summary in its chain are left out.
    """
    given = call.body.get("input")
    if not isinstance(given, list):
        given = []
    elif "compaction" in [item.get("type") for item in given]:
        try:
            opened = sealed.unsealed(given, caller.tenant_id, keyring())
        except InvalidEncryptedContent as error:
            raise rename_param(error, call.client_param) from None
        call = structs.replace(call, body={**call.body, "input": opened})
    if DOORS[call.door].compacts or is_triggered(given):
        seal = partial(
            sealed.seal, tenant_id=caller.tenant_id, keyring=keyring(), supersedes=stored
        )
        compaction = Compaction(seal, [*history.items, *own_items])
        return structs.replace(call, compaction=compaction)
    return call


def _store_spec(
    caller: Caller, call: ModelCall, history: Chain, own_items: list[Json], echo: Json
) -> StoreSpec:
    """Return how the answer is stored. History that was remembered without being stored is stored with the
    first response that is."""
    conversation: Json = echo.get("conversation") or {}
    continues = bool(history.root_id)
    begins = continues or bool(conversation)
    return StoreSpec(
        tenant_id=caller.tenant_id,
        key_public_id=caller.key_public_id,
        model=call.model,
        retention_days=caller.retention_days,
        own_input=own_items if begins else own_input([*history.items, *own_items]),
        parent_id=echo["previous_response_id"] if continues else "",
        root_id=history.root_id,
        conversation_id=conversation.get("id", ""),
        conversation_until=history.until,
    )


def with_masks(caller: Caller, resolved: Resolved, kept: Json) -> Resolved:
    """Return what is stored of a call as `kept`, its whole body with the masks that are never put back."""
    items = kept.get("input")
    own: Any = items[resolved.call.history :] if isinstance(items, list) else items
    own_items = _masked_items(resolved.own_items, own)
    store_spec = resolved.store_spec
    if store_spec is not None:
        store_spec = _store_spec(caller, resolved.call, resolved.history, own_items, resolved.echo)
    given = resolved.given
    if not _has_compaction(given.get("input")):  # that was opened, and goes on as it came
        given = {**kept, "input": own}
    return structs.replace(resolved, own_items=own_items, store_spec=store_spec, given=given)


def _masked_items(own_items: list[Json], masked: Any) -> list[Json]:
    """Return the request's own items with the texts of the masked ones, and the ids they have."""
    found = own_input(masked) if own_items else []
    if len(found) != len(own_items):
        return found
    return [
        {**new, **{name: old[name] for name in ("id", "status") if name in old}}
        for old, new in zip(own_items, found, strict=True)
    ]


def _has_compaction(items: Any) -> bool:
    return isinstance(items, list) and any(item.get("type") == "compaction" for item in items)


def can_store(services: Services) -> bool:
    """Return whether the database answered when it was last asked."""
    return not (services.watcher.is_failing or services.writer.is_failing)


def completion_store(services: Services, caller: Caller, call: ModelCall) -> CompletionStore | None:
    """Return the store of a chat completion, which is stored on request only. Raise PermissionDenied or
    Unavailable."""
    body = call.body
    if not body.get("store"):
        return None
    if "store" not in caller.scopes:
        raise _may_not_store()
    if not can_store(services):
        raise cannot_store()
    return CompletionStore(
        services.writer, caller.tenant_id, caller.key_public_id, caller.retention_days, body
    )


def is_stored(caller: Caller, route: Route, body: Json) -> bool:
    """Return whether the answer is to be stored. Raise PermissionDenied or BadRequest."""
    asked = body.get("store")
    if asked is None:
        by_default = route.store_by_default
        asked = caller.store_by_default if by_default is None else by_default
        stored = bool(asked) and "store" in caller.scopes
    else:
        if asked and "store" not in caller.scopes:
            raise _may_not_store()
        stored = bool(asked)
    if body.get("background") and not stored:
        raise BadRequest(
            "A background response must be stored, but 'store' is false for this request, model or key.",
            param="background",
        )
    return stored


def _may_not_store() -> PermissionDenied:
    return PermissionDenied("This API key lacks the scope 'store'; send \"store\": false.")


def cannot_store() -> Unavailable:
    """Return the error for a request whose answer cannot be stored."""
    return Unavailable(
        "Responses cannot be stored, because the database is unavailable; try again, or send "
        '"store": false.',
        retry_after_seconds=2,
    )


def _echo(body: Json, parent_id: str, named: str, *, stored: bool) -> Json:
    echo: Json = {
        "previous_response_id": parent_id or None,
        "store": stored,
        "background": bool(body.get("background")),
    }
    if named:
        echo["conversation"] = {"id": named}
    return echo


async def _expand(
    caller: Caller, call: ModelCall, parent_id: str, named: str, memory: Memory | None
) -> tuple[ModelCall, Chain, Any]:
    """Return the call with its whole input including the history, the history, and the request's own
    items."""
    own: Any = responses_canonical.canonical(call.body)["input"]
    remembered = memory.recall(parent_id) if memory is not None and parent_id else None
    references = {position: own[position]["id"] for position in call.references}
    needs_store = bool(references or named or (parent_id and remembered is None))
    if needs_store:
        if "read" not in caller.scopes:
            if memory is not None and not (references or named):
                raise PreviousResponseNotFound  # for this key, only remembered responses exist
            raise PermissionDenied(
                "This API key lacks the scope 'read', so it cannot use stored responses, "
                "conversations or items."
            )
        load = (caller.tenant_id, "" if remembered else parent_id, named, list(references.values()))
        try:
            chain, items = await in_database_thread(_load, *load)
        except StoreUnavailable as error:
            message = "The database is unavailable; try again."
            raise Unavailable(message, retry_after_seconds=2) from error
    else:
        chain, items = NO_HISTORY, {}
    history = remembered or chain
    stored = {n: _found(items, item_id, n) for n, item_id in references.items()}
    whole = [
        *map(_for_upstream, history.items),
        *(_for_upstream(stored[n]) if n in stored else item for n, item in enumerate(own)),
    ]
    if len(whole) > settings.CAPS.items:
        raise RequestTooComplex("items", settings.CAPS.items, of="conversation", param="input")
    if history.size > settings.CAPS.values:
        check_sealed(history.items, settings.CAPS)
    own = [stored.get(n, item) for n, item in enumerate(own)]
    expanded = structs.replace(
        call,
        body={**call.body, "input": whole},
        size=call.size + history.size,
        history=len(history.items),
    )
    return expanded, history, own


def _load(
    tenant_id: int, parent_id: str, named: str, references: Any
) -> tuple[Chain, Mapping[str, Json]]:
    """Load everything a call needs from the database. Runs in a thread of the pool."""
    chain = NO_HISTORY
    if parent_id:
        chain = _chain(tenant_id, parent_id)
    elif named:
        found = chains.conversation(tenant_id, named)
        if found is None:
            raise ConversationNotFound
        chain = found
    return chain, chains.load_referenced(tenant_id, references) if references else {}


def _chain(tenant_id: int, parent_id: str) -> Chain:
    try:
        found = chains.load(tenant_id, parent_id)
    except chains.NotContinuable as error:
        raise BadRequest(
            f"The response named by 'previous_response_id' is {error.status!r}: only a completed or "
            "incomplete response can be continued.",
            param="previous_response_id",
        ) from None
    if found is None:
        raise PreviousResponseNotFound
    return found


def _found(items: Mapping[str, Json], item_id: str, position: int) -> Json:
    item = items.get(item_id)
    if item is None:
        raise ItemNotFound(f"input[{position}]")
    return item


def _for_upstream(item: Json) -> Json:
    """Return a stored item without what we added to it: the id of a client's message, the status of
    reasoning."""
    if item["type"] == "reasoning":
        return {name: value for name, value in item.items() if name != "status"}
    is_clients = item.get("role", "assistant") != "assistant" or item["type"].endswith("_output")
    if is_clients:
        return {name: value for name, value in item.items() if name not in {"id", "status"}}
    return item


def _check_outputs(items: Any, history: int) -> None:
    """Raise unless every tool output answers a call that is part of the conversation.

    A compaction may hold the call in a form only its maker can read, so after one this cannot be checked.
    `history` is how many items come before the request's own, for the position in the error.
    """
    if not isinstance(items, list):
        return
    kinds = [item.get("type") for item in items]
    is_output = [kind.__class__ is str and kind.endswith("_output") for kind in kinds]
    if True not in is_output or "compaction" in kinds:
        return
    ids = [item.get("call_id") for item in items]
    calls = {
        one
        for one, is_one in zip(ids, is_output, strict=True)
        if one.__class__ is str and not is_one
    }
    for position, call_id in enumerate(ids):
        if not is_output[position]:
            continue
        if isinstance(call_id, str) and call_id not in calls:
            raise BadRequest(
                f"No tool call found for the output with call_id {call_id!r}: send the call before its "
                "output, or continue from the response that made it.",
                param=f"input[{position - history}].call_id",
            )
