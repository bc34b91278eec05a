"""A page of the console asks the database little and weighs little, however much there is.

Counted is everything a page asks, who is signed in and as whom included.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin as django_admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import NoReverseMatch, reverse

from responses_api.models import StoredResponse
from routing.models import Alias
from tenants.console.pages import registered
from tenants.keys import keys
from tenants.models import ApiKey, AuditEvent, UsageRow
from tests.console import world as worlds
from tests.console.pages import url
from tests.console.test_request_pages import address, ago, of_key
from tests.console.world import World
from tests.plugins.tiers import sampled
from tests.support.logged import call

pytestmark = pytest.mark.django_db

MOST_QUERIES = 12
MOST_BYTES = 150_000
ROWS = 50
LISTS = (ApiKey, AuditEvent, UsageRow, StoredResponse)


def filled() -> World:
    world = worlds.make()
    tenant, key = world.ours.tenant, world.ours.key
    for number in range(ROWS):
        call(tenant, ago(minutes=number + 1), **of_key(key))
    for number in range(ROWS):
        keys.create(tenant, f"key {number}", all_aliases=bool(number % 2))
    # Its page looks for its request among those of its key.
    StoredResponse.objects.filter(tenant=tenant).update(key_public_id=key.public_id)
    return world


def pages(world: World) -> Iterator[str]:
    for model in django_admin.site._registry:
        yield url(model, "changelist")
    for row in world.ours.rows():
        yield url(row, "change")
    for page in registered():
        try:
            yield reverse(f"admin:{page.name}")
        except NoReverseMatch:
            continue
    ours, log = f"tenant={world.ours.tenant.slug}", reverse("admin:requests")
    yield f"{log}?{ours}&key={world.ours.key.public_id}&status=completed"
    yield f"{log}?{ours}&alias=smart&period=90d"
    yield address(UsageRow.objects.latest("opened_at"), "")


def asked(client: Client, page: str) -> tuple[int, int, int]:
    """Return the status, the number of queries and the bytes. What is over the bound is asked again: content
    types and the like are read once a process.
    """
    for _time in range(2):
        with CaptureQueriesContext(connection) as queries:
            answer: Any = client.get(page)
        if len(queries) <= MOST_QUERIES:
            break
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return answer.status_code, len(queries), len(body)


def test_every_page_takes_few_queries_and_bytes_with_fifty_rows():
    world = filled()
    admin, operator = worlds.staff("admin", world.ours.tenant), worlds.operator()
    too_much, seen = [], set()
    kept = (world.ours.response, world.ours.conversation)
    always = [url(model, "changelist") for model in LISTS]
    always += [url(row, "change") for row in kept]
    others = [page for page in pages(world) if page not in always]
    for page in (*always, *sampled(others, default=8, ci=24)):
        status, queries, size = asked(admin, page)
        if status != 200:  # what tenants' people do not see, and whatever needs more in its address
            status, queries, size = asked(operator, page)
        seen.add((page, status))
        if queries > MOST_QUERIES or size > MOST_BYTES:
            too_much.append((page, queries, size))

    assert too_much == []
    assert {(page, 200) for page in always} <= seen


def test_an_operator_is_told_of_one_tenant_with_as_few_queries():
    """They choose among all tenants, which tenants' people do not."""
    world = filled()
    operator = worlds.operator()
    ours, log = f"tenant={world.ours.tenant.slug}", reverse("admin:requests")
    for page in (
        reverse("admin:index"),
        log,
        f"{log}?{ours}&alias=smart&period=90d",
        address(UsageRow.objects.latest("opened_at"), f"?{ours}"),
        f"{url(world.ours.key, 'change')}?{ours}",
        f"{url(ApiKey, 'changelist')}?{ours}",
        url(Alias, "changelist"),
    ):
        status, queries, size = asked(operator, page)
        assert (status, queries <= MOST_QUERIES, size <= MOST_BYTES) == (200, True, True), (
            page,
            queries,
            size,
        )
