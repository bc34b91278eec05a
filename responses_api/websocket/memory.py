"""Remember responses of one connection, so that a turn can continue from one that is not stored.

The newest response of each lane is kept, and the others for as long as there is room. What is remembered of a
response is its own turn and a link to the one before it: what several have in common exists once and counts
once. It is kept as JSON, so that its size is exact.
"""

from __future__ import annotations

import orjson

from gateway_project.lib.json import Json
from responses_api.calls.history import NO_HISTORY, Resolved
from responses_api.process.socket_limits import SocketLimits
from responses_api.storage.chains import Chain, check_history, mark_for_maker
from responses_api.storage.items import identify_item
from responses_api.storage.stores import AnswerStore
from routing.protocols.shared.envelope import Maker

_CONTINUABLE = frozenset({"completed", "incomplete"})


class _TurnItems:
    """The items that one turn added. `holders` are the responses and later turns that need it."""

    __slots__ = ("before", "holders", "written")

    def __init__(self, before: _TurnItems | None, written: bytes) -> None:
        self.before = before
        self.written = written
        self.holders = 0


class _Remembered:
    """A response. `root_id` is where its stored chain begins; empty if it is not stored."""

    __slots__ = ("lane", "root_id", "said")

    def __init__(self, said: _TurnItems, root_id: str, lane: str) -> None:
        self.said = said
        self.root_id = root_id
        self.lane = lane


class ConnectionMemory:
    """The memory of one connection."""

    __slots__ = ("_limits", "_newest", "_responses", "size")

    def __init__(self, limits: SocketLimits) -> None:
        self._limits = limits
        self._responses: dict[str, _Remembered] = {}  # the one used last comes last
        self._newest: dict[str, str] = {}  # by lane
        self.size = 0

    def __len__(self) -> int:
        return len(self._responses)

    def find(self, response_id: str) -> _Remembered | None:
        found = self._responses.pop(response_id, None)
        if found is not None:
            self._responses[response_id] = found
        return found

    def add(self, response_id: str, found: _Remembered) -> None:
        self._hold(found.said)
        self._responses[response_id] = found
        self._newest[found.lane] = response_id
        while self._is_full() and self._responses:
            self.forget(self._dispensable())

    def forget(self, response_id: str) -> None:
        found = self._responses.pop(response_id, None)
        if found is None:
            return
        if self._newest.get(found.lane) == response_id:
            del self._newest[found.lane]
        self._release(found.said)

    def forget_failed(self, response_id: str, lane: str) -> None:
        """Forget the response that a failed turn continued from. A failed fork on another lane changes
        nothing."""
        found = self._responses.get(response_id)
        if found is not None and found.lane == lane:
            self.forget(response_id)

    def clear(self) -> None:
        self._responses.clear()
        self._newest.clear()
        self.size = 0

    def _is_full(self) -> bool:
        limits = self._limits
        return len(self._responses) > limits.memory_entries or self.size > limits.memory_bytes

    def _dispensable(self) -> str:
        """Return the response that was not used for longest, preferably one that is not a lane's newest."""
        newest = set(self._newest.values())
        others = (response_id for response_id in self._responses if response_id not in newest)
        return next(others, next(iter(self._responses)))

    def _hold(self, said: _TurnItems | None) -> None:
        while said is not None:
            said.holders += 1
            if said.holders > 1:
                return
            self.size += len(said.written)
            said = said.before

    def _release(self, said: _TurnItems | None) -> None:
        while said is not None:
            said.holders -= 1
            if said.holders:
                return
            self.size -= len(said.written)
            said = said.before


class TurnMemory:
    """The connection's memory as one turn sees it; implements `Memory`, and `AnswerStore` around another
    one."""

    __slots__ = ("_connection", "_lane", "_parent", "_resolved", "_store", "has_remembered")

    def __init__(self, connection: ConnectionMemory, lane: str) -> None:
        self._connection = connection
        self._lane = lane
        self._parent: _TurnItems | None = None
        self._resolved: Resolved | None = None
        self._store: AnswerStore | None = None
        self.has_remembered = False

    def recall(self, response_id: str) -> Chain | None:
        found = self._connection.find(response_id)
        if found is None:
            return None
        self._parent = found.said
        pieces = _pieces(found.said)
        check_history(sum(map(len, pieces)), pieces, "previous_response_id")
        items = [item for piece in pieces for item in orjson.loads(piece)]
        return Chain(found.root_id, items, sum(map(len, pieces)))

    def wrap(self, store: AnswerStore | None, resolved: Resolved | None) -> TurnMemory:
        """Return the store to use for this turn in place of `store`."""
        self._store, self._resolved = store, resolved
        return self

    async def save(self, answer: Json, maker: Maker, closing: bytes) -> None:
        """Store the answer, and remember it even if that fails: then memory is the only way to continue
        from it."""
        is_stored = False
        try:
            if self._store is not None:
                await self._store.save(answer, maker, closing)
                is_stored = True
        finally:
            self._remember(answer, maker, is_stored=is_stored)

    def _remember(self, answer: Json, maker: Maker, *, is_stored: bool) -> None:
        resolved = self._resolved
        if resolved is None or answer["status"] not in _CONTINUABLE:
            return
        self.has_remembered = True
        output = [mark_for_maker(identify_item(item), maker) for item in answer.get("output") or ()]
        try:
            said = self._history(resolved)
            said = _TurnItems(said, orjson.dumps([*resolved.own_items, *output]))
        except orjson.JSONEncodeError:
            return  # JSON nested deeper than can be written
        root_id = _root_id(answer, resolved) if is_stored else ""
        self._connection.add(answer["id"], _Remembered(said, root_id, self._lane))

    def _history(self, resolved: Resolved) -> _TurnItems | None:
        """Return what came before this turn: remembered already, or read from the database."""
        if self._parent is not None or resolved.history is NO_HISTORY:
            return self._parent
        return _TurnItems(None, orjson.dumps(resolved.history.items))


def _root_id(answer: Json, resolved: Resolved) -> str:
    """Return where the stored chain begins. A conversation's response is stored with its own turn only, so
    no chain in the database could stand for what is remembered of it."""
    store_spec = resolved.store_spec
    if store_spec is None or store_spec.conversation_id:
        return ""
    root_id: str = store_spec.root_id or answer["id"]
    return root_id


def _pieces(said: _TurnItems | None) -> list[bytes]:
    """Return everything that was said, oldest first."""
    pieces = []
    while said is not None:
        pieces.append(said.written)
        said = said.before
    return pieces[::-1]
