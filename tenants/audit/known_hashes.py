"""Read hashes of events that are kept elsewhere: what a receiver has, or a log on another host.

Who rewrites a chain and signs it anew, or cuts off its end with its checkpoint, cannot change these.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError

from tenants.models.audit import PLATFORM

# By an event's number. A number that is known with two hashes is that of no whole chain.
KnownHashes = Mapping[int, set[str]]
NOTHING_KNOWN: KnownHashes = {}


def read(lines: Iterable[str]) -> dict[int, KnownHashes]:
    """Return what JSON Lines tell of each chain: exported or delivered events, the process's log lines of
    checkpoints. Lines that tell no number with its hash are passed over. Raise ValidationError if all are.
    """
    found: dict[int, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for line in lines:
        if (told := _told(line)) is not None:
            chain, sequence, known = told
            found[chain][sequence].add(known)
    if not found:
        raise ValidationError({"known": "No line of it is JSON with a sequence and a hash."})
    return {chain: dict(hashes) for chain, hashes in found.items()}


def _told(line: str) -> tuple[int, int, str] | None:
    """Return chain, number and hash; None if the line is about something else."""
    try:
        said: Any = json.loads(line)
    except ValueError:
        return None
    if not isinstance(said, dict):
        return None
    # An event says whose it is, a checkpoint which chain it signs.
    chain = said.get("chain", said.get("tenant")) or PLATFORM
    sequence, known = said.get("sequence"), said.get("hash")
    if type(chain) is int and type(sequence) is int and isinstance(known, str):
        return chain, sequence, known
    return None
