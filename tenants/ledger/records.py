"""Define a spool's records, and their form in the file: length, CRC-32, then JSON.

A call is opened before its upstream sees a byte, noted again while it runs, and settled once. A reader of
the file can account for it at every point: an open call is worth its estimate, a noted one what the note
says, a settled one what it used. A torn record was never written. Requests that were refused before any
call stand beside them, each complete in itself.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from zlib import crc32

import msgspec
from msgspec import Struct

_HEAD = struct.Struct(">II")
HEAD_BYTES = _HEAD.size
MAX_RECORD_BYTES = 64 * 1024
# A length within bounds, a checksum, and the first byte of an object.
_BEGINNING = re.compile(rb"\0[\0\1].{6}\{", re.DOTALL)


class BudgetShare(Struct, frozen=True, array_like=True):
    """A window of a budget that pays for a call; instants in seconds since the epoch."""

    budget_id: int
    starts_at: int
    ends_at: int | None


class UnitAmount(Struct, frozen=True, array_like=True):
    """A call's use of a unit beside tokens (tenants/units.py), and its share of the charge."""

    name: str
    quantity: int
    charge_nano: int


class Opened(Struct, frozen=True, tag="open", omit_defaults=True):
    """A call about to be sent.

    id              the row's (row_ids.py), 32 hex digits
    at_ms           when it was opened, milliseconds since the epoch; prices are looked up at this instant
    route           chat | responses | compact | summary
    *_version       the published prices it is rated by; None: there is no price
    alias           the name it is priced under
    requested_model the name that was asked for, where it is another
    is_own          the tenant pays the provider itself, so it costs us nothing
    input_estimate  tokens it is charged for if nothing more is ever known
    held_nano       what its budgets hold for it; None: no budget limits it
    list_*          the same for budgets that count its provider's list price instead of the charge:
                    `list_budgets` are none of `budgets`, and without them there is no `list_version`
    units           quantities of units beside tokens, by name, that it is charged for as `input_estimate` is
    """

    id: str
    leg: int
    at_ms: int
    tenant_id: int
    tenant: str
    key_id: int
    key: str
    route: str
    alias: str
    provider: str
    upstream_model: str
    input_estimate: int
    service_tier: str = "default"
    cost_version: int | None = None
    charge_version: int | None = None
    is_own: bool = False
    held_nano: int | None = None
    budgets: tuple[BudgetShare, ...] = ()
    end_user: str = ""
    tags: dict[str, str] = {}
    streamed: bool = False
    background: bool = False
    websocket: bool = False
    requested_model: str = ""
    list_version: int | None = None
    list_held_nano: int | None = None
    list_budgets: tuple[BudgetShare, ...] = ()
    units: tuple[tuple[str, int], ...] = ()


class Noted(Struct, frozen=True, tag="note", omit_defaults=True):
    """A running call: output tokens counted so far, what is held for it now, milliseconds since it opened."""

    id: str
    output_tokens: int
    elapsed_ms: int
    held_nano: int | None = None
    ttft_ms: int | None = None
    list_held_nano: int | None = None


class Settled(Struct, frozen=True, tag="settle", omit_defaults=True):
    """A call that has ended, priced. `tokens` and `charges_nano` are in the order of TOKEN_CLASSES; the
    charges are what the tenant pays, and `unfunded_nano` what they would have paid beyond what was held, or
    for a call without an answer. `waived_nano` of that is what its budgets pay all the same. `list_nano` is
    what its `list_budgets` pay. `units` and their charges stand beside tokens. `absorbed`: it failed, and
    another target was tried. The outcomes are those of UsageRow; `saved_nano` is what an answer from the
    cache would have been charged beyond its charge."""

    id: str
    status: str
    usage_source: str
    tokens: tuple[int, ...]
    cost_nano: int
    charges_nano: tuple[int, ...]
    duration_ms: int
    unfunded_nano: int = 0
    waived_nano: int = 0
    list_nano: int = 0
    usage_anomaly: bool = False
    http_status: int = 0
    error_code: str = ""
    service_tier: str = "default"
    ttft_ms: int | None = None
    overhead_us: int = 0
    units: tuple[UnitAmount, ...] = ()
    absorbed: bool = False
    guardrail_outcome: str = ""
    cache_outcome: str = ""
    saved_nano: int = 0


class Refused(Struct, frozen=True, tag="refuse", omit_defaults=True):
    """A request that was refused before any call.

    id          the request's, 32 hex digits
    at_ms       when it was refused, milliseconds since the epoch
    message     the sentence its client got
    tenant_id   whose key it came with; 0 if that was no key that is known, and then
    claimed     is the public id of the key it claimed to have, blank if it had none
    route       the door it came to
    model       the name it asked for, blank if it was refused before that was read
    """

    id: str
    at_ms: int
    http_status: int
    code: str
    message: str
    route: str
    tenant_id: int = 0
    key_id: int = 0
    key: str = ""
    claimed: str = ""
    model: str = ""
    websocket: bool = False
    background: bool = False


class RefusedMore(Struct, frozen=True, tag="refuse_more", omit_defaults=True):
    """Further requests that were refused alike, within one hour, of which only the number is kept."""

    at_ms: int
    code: str
    count: int
    tenant_id: int = 0
    key_id: int = 0
    key: str = ""
    claimed: str = ""


Refusals = Refused | RefusedMore
Record = Opened | Noted | Settled | Refused | RefusedMore


class Unreadable(Struct, frozen=True):
    """A whole frame whose body is no record this version knows."""

    body: bytes
    reason: str


_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)
_decode = _decoder.decode


def framed(record: Record) -> bytes:
    """Return the record in its form in a file."""
    body = _encoder.encode(record)
    return _HEAD.pack(len(body), crc32(body)) + body


def read(data: bytes) -> Iterator[tuple[Record | Unreadable, int]]:
    """Return the whole records at the beginning of `data`, each with the offset behind it.

    It ends at the first torn record: cut short, or with another checksum.
    """
    offset = 0
    while (body := _body(data, offset)) is not None:
        offset += HEAD_BYTES + len(body)
        try:
            record: Record | Unreadable = _decode(body)
        except msgspec.DecodeError as error:
            record = Unreadable(body, str(error))
        yield record, offset


def next_whole(data: bytes, offset: int) -> int | None:
    """Return where the first whole record at or behind `offset` begins: the way past damage."""
    while (found := _BEGINNING.search(data, offset)) is not None:
        if _body(data, found.start()) is not None:
            return found.start()
        offset = found.start() + 1
    return None


def _body(data: bytes, offset: int) -> bytes | None:
    """Return the body of the whole record that begins at `offset`; None if there is none."""
    begin = offset + HEAD_BYTES
    if len(data) < begin:
        return None
    length, checksum = _HEAD.unpack_from(data, offset)
    if not 0 < length <= MAX_RECORD_BYTES or len(data) < begin + length:
        return None
    body = data[begin : begin + length]
    return body if crc32(body) == checksum else None
