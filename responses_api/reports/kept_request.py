"""Find the request that a stored response answered.

A stored response does not name it, so that storing one costs no more. It is found by what both know: the
key, the model asked for, the time and the tokens (resources/request_traces.py finds the other way).
"""

from __future__ import annotations

from datetime import timedelta

import orjson

from responses_api.models import StoredResponse
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.models import ApiKey
from tenants.reports import requests
from tenants.reports.logged_request import LoggedRequest
from tenants.reports.request_filter import RequestFilter
from tenants.reports.requests import LogPlace

BEFORE, AFTER = timedelta(seconds=2), timedelta(seconds=30)
LONGEST = timedelta(hours=1)
MOST_LOOKED_AT = 100


def request_of(who: Access, row: StoredResponse) -> LoggedRequest | None:
    """Return the request that fits; None if there is none, or they may not view the tenant's requests."""
    if not who.may("view", Area.USAGE, row.tenant_id):
        return None
    tokens = _tokens(bytes(row.body))
    fitting = [each for each in _around(who, row) if _fits(each, row, tokens)]
    return min(fitting, key=lambda each: abs(each.at - row.created_at), default=None)


def _around(who: Access, row: StoredResponse) -> tuple[LoggedRequest, ...]:
    """Return requests of the key: one in the background is stored when it begins, others at their end."""
    start = row.created_at - (BEFORE if row.background else LONGEST)
    end = row.created_at + (LONGEST if row.background else BEFORE)
    key = (
        ApiKey.objects.filter(tenant=row.tenant_id, public_id=row.key_public_id).only("pk").first()
    )
    if key is None:
        return ()
    asked = RequestFilter(
        start,
        end,
        frozenset({row.tenant_id}),
        key=row.key_public_id,
        key_id=key.pk,
        is_called=True,
    )
    after = LogPlace(start, 0) if row.background else None
    return requests.read_page(who, asked, after=after, limit=MOST_LOOKED_AT, in_whole=False).rows


def _fits(each: LoggedRequest, row: StoredResponse, tokens: tuple[int, int] | None) -> bool:
    if not each.attempts or row.model not in {each.requested_model or each.alias}:
        return False
    if tokens is not None and tokens != (each.input_tokens, each.output_tokens):
        return False
    ended = each.at + timedelta(milliseconds=each.duration_ms or 0)
    begun = each.at if row.background else ended
    return begun - BEFORE <= row.created_at < ended + AFTER


def _tokens(body: bytes) -> tuple[int, int] | None:
    try:
        usage = orjson.loads(body).get("usage")
    except (orjson.JSONDecodeError, AttributeError):
        return None
    if not isinstance(usage, dict):
        return None
    return usage.get("input_tokens", 0), usage.get("output_tokens", 0)
