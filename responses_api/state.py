"""What a call continues from and whether its answer is kept; settled before anything is sent.

    store            the request's word, else the alias's, else the tenant's, within what the key may do
    history          a chain of responses, a conversation, or nothing; put before the request's own input
    item_reference   replaced by the tenant's stored item
    call_id          of every output must belong to a call that is part of the conversation

Upstreams never see any of it: they get one stateless conversation (docs/responses.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

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
from responses_api.compaction import sealed
from responses_api.compaction.request import is_triggered
from responses_api.doors import responses_canonical
from responses_api.doors.responses import conversation_id
from responses_api.doors.shapes import Compaction, ModelCall, check_sealed, renamed
from responses_api.storage import chains
from responses_api.storage.chains import Chain
from responses_api.storage.keepers import CompletionKeeper
from responses_api.storage.records import Keeping, own_input
from routing.credentials import keyring
from routing.route import Route
from tenants.caller import Caller

if TYPE_CHECKING:
    from responses_api.worker import Worker

Json = dict[str, Any]

NO_HISTORY = Chain(root_id="", items=[])


class Memory(Protocol):
    """Responses that are remembered elsewhere than in the database, as on a WebSocket."""

    def recall(self, response_id: str) -> Chain | None:
        """What was said up to this response; None if it is not remembered."""


class Resolved(Struct, frozen=True):
    """A call with its history, and how its answer is kept (None: not at all).

    `echo` are the fields of the Response that say so; `own_items` is the request's own input as items,
    `given` its body as it came.
    """

    call: ModelCall
    keeping: Keeping | None
    echo: Json
    history: Chain
    own_items: list[Json]
    given: Json


async def resolve(
    worker: Worker, caller: Caller, route: Route, call: ModelCall, memory: Memory | None = None
) -> Resolved:
    """Raises BadRequest naming the field, PermissionDenied, Unavailable."""
    stored = is_stored(caller, route, call.body)
    if stored and not worker.can_store:
        raise cannot_store()
    body = call.body
    parent_id, named = body.get("previous_response_id") or "", conversation_id(body)
    if parent_id or named or call.references:
        call, history, items = await _expanded(caller, call, parent_id, named, memory)
    else:
        history, items = NO_HISTORY, body.get("input")
    _check_outputs(call.body.get("input"), len(history.items))
    own_items = own_input(items) if stored or memory is not None or call.door == "compact" else []
    call = _with_compaction(caller, call, history, own_items, stored=stored)
    echo = _echo(body, parent_id, named, stored=stored)
    keeping = _keeping(caller, call, history, own_items, echo) if stored else None
    return Resolved(call, keeping, echo, history, own_items, body)


def _with_compaction(
    caller: Caller, call: ModelCall, history: Chain, own_items: list[Json], *, stored: bool
) -> ModelCall:
    """The call with summaries that come back opened, and with what it takes to make one.

    A stored response is continued by its id: what stands before the summary in its chain is then left out.
    """
    given = call.body.get("input")
    if not isinstance(given, list):
        given = []
    elif any(item.get("type") == "compaction" for item in given):
        try:
            opened = sealed.unsealed(given, caller.tenant_id, keyring())
        except InvalidEncryptedContent as error:
            raise renamed(error, call.named) from None
        call = structs.replace(call, body={**call.body, "input": opened})
    if call.door == "compact" or is_triggered(given):
        seal = partial(
            sealed.seal, tenant_id=caller.tenant_id, keyring=keyring(), supersedes=stored
        )
        compaction = Compaction(seal, [*history.items, *own_items])
        return structs.replace(call, compaction=compaction)
    return call


def _keeping(
    caller: Caller, call: ModelCall, history: Chain, own_items: list[Json], echo: Json
) -> Keeping:
    """What was remembered without being stored is stored with the first response that is."""
    conversation: Json = echo.get("conversation") or {}
    continues = bool(history.root_id)
    begins = continues or bool(conversation)
    return Keeping(
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


def completion_keeper(worker: Worker, caller: Caller, call: ModelCall) -> CompletionKeeper | None:
    """For a chat completion, which is kept on request only. Raises PermissionDenied, Unavailable."""
    body = call.body
    if not body.get("store"):
        return None
    if "store" not in caller.scopes:
        raise _may_not_store()
    if not worker.can_store:
        raise cannot_store()
    return CompletionKeeper(
        worker.writer, caller.tenant_id, caller.key_public_id, caller.retention_days, body
    )


def is_stored(caller: Caller, route: Route, body: Json) -> bool:
    """Whether the answer is to be kept. Raises PermissionDenied, BadRequest."""
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
            "A response in the background must be stored, or nobody could ask for it: 'store' is false "
            "for this request, model or key.",
            param="background",
        )
    return stored


def _may_not_store() -> PermissionDenied:
    return PermissionDenied("This API key lacks the scope 'store'; send \"store\": false.")


def cannot_store() -> Unavailable:
    """The answer to a request whose answer cannot be kept."""
    return Unavailable(
        "Responses cannot be stored now, because the database does not answer; try again, or send "
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


async def _expanded(
    caller: Caller, call: ModelCall, parent_id: str, named: str, memory: Memory | None
) -> tuple[ModelCall, Chain, Any]:
    """The call with its whole input, the history in it, and the request's own items."""
    own: Any = responses_canonical.canonical(call.body)["input"]
    remembered = memory.recall(parent_id) if memory is not None and parent_id else None
    references = {position: own[position]["id"] for position in call.references}
    needs_store = bool(references or named or (parent_id and remembered is None))
    if needs_store:
        if "read" not in caller.scopes:
            if memory is not None and not (references or named):
                raise PreviousResponseNotFound  # to this key only what is remembered exists
            raise PermissionDenied(
                "This API key lacks the scope 'read', so it cannot use what is stored."
            )
        load = (caller.tenant_id, "" if remembered else parent_id, named, list(references.values()))
        try:
            chain, items = await in_database_thread(_load, *load)
        except StoreUnavailable as error:
            message = "The database cannot be asked now; try again."
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
    """Everything a call needs of the database; runs in a thread of the pool."""
    chain = NO_HISTORY
    if parent_id:
        chain = _chain(tenant_id, parent_id)
    elif named:
        found = chains.conversation(tenant_id, named)
        if found is None:
            raise ConversationNotFound
        chain = found
    return chain, chains.referenced(tenant_id, references) if references else {}


def _chain(tenant_id: int, parent_id: str) -> Chain:
    try:
        found = chains.load(tenant_id, parent_id)
    except chains.NotContinuable as error:
        raise BadRequest(
            f"The response named by 'previous_response_id' is {error.status!r}: only one that is "
            "completed or incomplete can be continued.",
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
    """A stored item without what we gave it: the id of what the client said, the status of a thought."""
    if item["type"] == "reasoning":
        return {name: value for name, value in item.items() if name != "status"}
    is_clients = item.get("role", "assistant") != "assistant" or item["type"].endswith("_output")
    if is_clients:
        return {name: value for name, value in item.items() if name not in {"id", "status"}}
    return item


def _check_outputs(items: Any, history: int) -> None:
    """Raise unless every tool output answers a call that is part of the conversation.

    A compaction may hold the call in a form only its maker can read, so there nobody else can tell.
    `history` is how many items come before the request's own, for the position in the error.
    """
    if not isinstance(items, list):
        return
    outputs = [(n, i) for n, i in enumerate(items) if str(i.get("type", "")).endswith("_output")]
    if not outputs or any(item.get("type") == "compaction" for item in items):
        return
    calls = {i.get("call_id") for i in items if not str(i.get("type", "")).endswith("_output")}
    for position, item in outputs:
        call_id = item.get("call_id")
        if isinstance(call_id, str) and call_id not in calls:
            raise BadRequest(
                f"No tool call found for the output with call_id {call_id!r}: send the call before its "
                "output, or continue from the response that made it.",
                param=f"input[{position - history}].call_id",
            )
