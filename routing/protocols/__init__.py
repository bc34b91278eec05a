"""List the protocols that upstreams speak; a folder for each beside this file.

A protocol that is in no list here does not exist: provider rows, `check_upstream`, `sync_models`, the bridges
from every client format (responses_api/doors/plan.py) and docs/parameters.md are derived from `PROTOCOLS`.
"""

from __future__ import annotations

from routing.protocols import anthropic, chat, responses
from routing.protocols.shared.protocol import UpstreamProtocol

PROTOCOLS: dict[str, UpstreamProtocol] = {
    protocol.name: protocol
    for protocol in (
        chat.PROTOCOL,
        responses.PROTOCOL,
        anthropic.PROTOCOL,
    )
}
