"""List the client formats; a folder for each beside this file.

A door that is in no list here does not exist: routes, bridges to every upstream protocol and
docs/parameters.md are derived from `DOORS`.
"""

from __future__ import annotations

from responses_api.doors import chat, compact, input_tokens, responses
from responses_api.doors.door import Door
from responses_api.doors.plan import Bridge, build_bridges
from routing.protocols import PROTOCOLS

CHAT = chat.DOOR
RESPONSES = responses.DOOR
COMPACT = compact.DOOR

DOORS: dict[str, Door] = {
    door.name: door
    for door in (
        chat.DOOR,
        responses.DOOR,
        compact.DOOR,
        input_tokens.DOOR,
    )
}
# By the names of a door and of a protocol.
BRIDGES: dict[tuple[str, str], Bridge] = build_bridges(DOORS.values(), PROTOCOLS.values())
