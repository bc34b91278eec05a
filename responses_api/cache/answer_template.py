"""Write a kept answer so that only its ids and its time are to be filled in."""

from __future__ import annotations

import re
from collections.abc import Sequence

import orjson
from msgspec import Struct, structs

from gateway_project.lib import ids
from gateway_project.lib.json import Json
from responses_api.doors.replay import Replay
from responses_api.doors.shapes import ModelCall
from responses_api.stream.upstream_reader import Identity


class AnswerTemplate(Struct, frozen=True):
    """An answer to one request as JSON, cut where something new is to stand.

    pieces     what stays, with nothing in the places between
    places     the place of each slot in `pieces`, and the number of its value
    prefixes   of the ids that follow the answer's own id and its time in the list of values
    """

    pieces: list[bytes]
    places: tuple[tuple[int, int], ...]
    prefixes: tuple[str, ...]

    def fill(self, identity: Identity) -> bytes:
        """Return the answer of a call with this identity."""
        values = [identity.id, str(identity.created_at), *map(ids.item_id, self.prefixes)]
        pieces = self.pieces.copy()
        for place, number in self.places:
            pieces[place] = values[number].encode()
        return b"".join(pieces)


def template_of(
    replay: Replay, kept: Json, call: ModelCall, identity: Identity
) -> AnswerTemplate | None:
    """Return the template of a kept answer to a call; None if other things of it are new each time.

    Marks that no answer can know stand for the id and the time, and are then looked for.
    """
    time = int.from_bytes(ids.random_bytes(8), "big") >> 2 | 1 << 62
    answer = replay.renewed(kept, call, structs.replace(identity, created_at=time))
    own = replay.new_ids(answer)
    if own is None:
        return None
    marks = [identity.id.encode(), b"%d" % time, *(each.encode() for each in own)]
    pieces = re.split(b"(%b)" % b"|".join(map(re.escape, marks)), orjson.dumps(answer))
    places = tuple((place, marks.index(pieces[place])) for place in range(1, len(pieces), 2))
    return AnswerTemplate(pieces, places, _prefixes(own))


def _prefixes(own: Sequence[str]) -> tuple[str, ...]:
    return tuple(each.rpartition("_")[0] for each in own)
