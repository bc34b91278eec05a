"""The response cache as people meet it: the alias's page, its API and command, and the log of requests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse

from gateway_project.lib import clock
from routing.models import Alias
from tests.api.callers import of_member, of_operator
from tests.commands.running import answer, refusal
from tests.console import world as worlds
from tests.console.test_request_pages import address, of_key, read, requests_in
from tests.console.world import World
from tests.support.logged import call

pytestmark = pytest.mark.django_db


@pytest.fixture
def platforms(world: World) -> Alias:
    """An alias of the platform that keeps answers, and the tenant's link to it."""
    alias = Alias.objects.filter(tenant=None, platform_alias=None).first()
    assert alias is not None
    alias.cache_seconds = 60
    alias.save()
    return alias


def ago(**span: int) -> Any:
    return clock.now() - timedelta(**span)


def test_the_page_of_an_alias_explains_it_and_purges_what_is_kept(platforms: Alias):
    operator = worlds.operator()
    page = read(operator, reverse("admin:routing_alias_change", args=[platforms.pk]))
    assert "An equal request is answered with the answer that was given before" in page
    do = reverse("admin:routing_alias_do", args=[platforms.pk, "purge_cached_answers"])
    assert do in page

    assert "are not given again" in read(operator, do)
    assert operator.post(do, {"confirm": "yes"}).status_code == 302
    platforms.refresh_from_db()
    assert platforms.cache_generation == 1


def test_a_tenant_keeps_answers_of_its_own_aliases_and_says_nothing_of_their_price(world: World):
    api = of_member("developer", world.ours.tenant)
    own = f"aliases/{world.ours.alias.pk}"
    kept = api.patch(own, {"cache_seconds": 60, "cache_scope": "tenant"})
    assert (kept.status_code, kept.json()["cache_seconds"]) == (200, 60)
    priced = api.patch(own, {"cache_charge_percent": 1})
    assert priced.status_code in {400, 403}
    assert "cache_charge_percent" in priced.content.decode()
    for wrong in ({"cache_seconds": 86_401}, {"cache_seconds": -1}, {"cache_scope": "all"}):
        assert api.patch(own, wrong).status_code == 400, wrong

    purged = api.post(f"{own}/purge_cache")
    assert (purged.status_code, purged.json()["cache_generation"]) == (200, 1)


def test_nobody_purges_what_is_not_theirs(world: World, platforms: Alias):
    api = of_member("owner", world.ours.tenant)
    assert api.post(f"aliases/{platforms.pk}/purge_cache").status_code == 403
    assert api.post(f"aliases/{world.theirs.alias.pk}/purge_cache").status_code == 404
    viewer = of_member("viewer", world.ours.tenant)
    assert viewer.post(f"aliases/{world.ours.alias.pk}/purge_cache").status_code == 403
    assert not Alias.objects.filter(cache_generation__gt=0).exists()


def test_purge_cache_names_the_alias(world: World, platforms: Alias):
    told = answer("purge_cache", platforms.name)
    assert told == {"alias": platforms.name, "cache_generation": 1}
    ours = answer("purge_cache", world.ours.alias.name, "--tenant", world.ours.tenant.slug)
    assert ours["cache_generation"] == 1
    assert "no-such" in refusal("purge_cache", "no-such")


def test_the_log_filters_by_what_the_cache_said_and_a_request_says_why(world: World):
    tenant, key = world.ours.tenant, world.ours.key
    kinds = ("hit", "miss", "refresh")
    made = {
        kind: call(
            tenant,
            ago(minutes=number),
            **of_key(key),
            cache_outcome=kind,
            provider="" if kind == "hit" else "openai",
            saved_nano=1_000_000 if kind == "hit" else 0,
        )
        for number, kind in enumerate(kinds, 1)
    }
    listed = reverse("admin:requests") + f"?tenant={tenant.slug}"
    api, operator = of_operator(), worlds.operator()
    for kind in made:
        page = read(operator, f"{listed}&cache={kind}")
        assert len(requests_in(page)) == 1
        found = api.get(f"requests?tenant={tenant.pk}&cache={kind}").json()["data"]
        assert [each["cache_outcome"] for each in found] == [kind]
    assert api.get("requests?cache=perhaps").status_code == 400

    shown = {kind: read(operator, address(row)) for kind, row in made.items()}
    assert "answered from the cache: no provider was asked" in shown["hit"]
    assert "charged $0.001 more" in shown["hit"]
    assert "No answer to an equal request was kept" in shown["miss"]
    assert "x-tollgate-cache: refresh" in shown["refresh"]


def test_a_request_past_the_cache_says_why_where_the_alias_keeps_answers(
    world: World, platforms: Alias
):
    tenant, named, operator = world.ours.tenant, {"alias": platforms.name}, worlds.operator()
    said = {
        "made in the background": {"background": True},
        "came over a WebSocket": {"websocket": True},
        "x-tollgate-cache-reason": {},
    }
    for text, fields in said.items():
        row = call(tenant, ago(minutes=1), **of_key(world.ours.key), **named, **fields)
        assert text in read(operator, address(row))
    Alias.objects.update(cache_seconds=0)
    row = call(tenant, ago(minutes=1), **of_key(world.ours.key), **named)
    assert "The cache was not asked" not in read(operator, address(row))
