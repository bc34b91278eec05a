"""Write the answer of POST /responses/compact: the user's messages as they were, then the sealed summary."""

from __future__ import annotations

import orjson

from gateway_project.lib.json import Json
from responses_api.compaction.answer import compaction_object
from responses_api.doors.responses.encoder import ResponsesEncoder
from responses_api.stream.upstream_reader import Identity


class CompactEncoder(ResponsesEncoder):
    """Implements `Encoder`; only whole answers are ever asked of it."""

    __slots__ = ("_items",)

    def __init__(self, identity: Identity, items: list[Json]) -> None:
        super().__init__(identity)
        self._items = items

    def final(self, response: Json) -> bytes:
        self.closing = orjson.dumps(self.document(response))
        return self.closing

    rewrite_end = final

    def document(self, response: Json) -> Json:
        identity = self._identity
        *_, item = response["output"]
        return compaction_object(
            identity.id, identity.created_at, self._items, item, response["usage"]
        )
