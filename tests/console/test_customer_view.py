"""A customer sees what they pay for and why, and nothing of what it costs the platform or who answers.

Figures and names that stand nowhere else are planted where the platform keeps its own; then somebody with
the billing role opens every page, file and route of the management API. The operator's walk finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from django.contrib import admin as django_admin
from django.test import Client
from django.urls import reverse

from gateway_project.api_urls import urlpatterns
from gateway_project.lib import clock
from tenants.billing import rollups
from tenants.console import pages
from tenants.ledger.row_ids import request_id_of
from tenants.models import Tenant, UsageRow
from tenants.prices import publishing
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line
from tests.api.callers import Api, of_member, of_operator
from tests.console import world as worlds
from tests.console.pages import text, url
from tests.console.world import World
from tests.plugins.tiers import sampled
from tests.support import rows, usage_rows

pytestmark = pytest.mark.django_db

VENDOR, MODEL = "qq-vendor", "qq-model-9"
COST_NANO, CHARGE_NANO = 777_123_456_789, 60_000_000
PICO = 7_771_234_500
COSTS = (str(COST_NANO), "777.12", "777.06", "777,123", str(PICO), "7771.23", "7,771.23")
NAMES = (VENDOR, MODEL)


@pytest.fixture
def call(world: World) -> UsageRow:
    """A call of ours that the platform's provider answered, at a loss."""
    tenant = world.ours.tenant
    Tenant.objects.filter(pk=tenant.pk).update(shows_upstreams=False)
    provider = rows.provider("chat", "https://qq-vendor.example/v1", name=VENDOR)
    rows.alias("fleet", (provider, MODEL))
    lines = [Line("input_fresh", PICO), Line("output_visible", PICO)]
    publishing.set_price(Subject.cost(VENDOR, MODEL), lines, "x", clock.now(), "")
    # Without a price of its own, the alias would be charged at cost, which tenants are told.
    charged = [Line("input_fresh", 3_000_000), Line("output_visible", 4_000_000)]
    publishing.set_price(Subject.charge("fleet", None), charged, "x", clock.now(), "")
    call = usage_rows.usage(
        tenant,
        clock.now(),
        charges={"input_fresh": CHARGE_NANO},
        alias="fleet",
        provider=VENDOR,
        upstream_model=MODEL,
        key_public_id=world.ours.key.public_id,
        cost_nano=COST_NANO,
    )
    rollups.recompute_dirty()
    return call


def console_addresses(world: World, call: UsageRow) -> Iterator[str]:
    """Yield every page that one of our people may be led to, with each way to group and each file; first
    those of the call itself."""
    yield f"/console/requests/{request_id_of(call.pk)}/"
    yield url(call, "change")
    for model in django_admin.site._registry:
        yield url(model, "changelist")
    for row in (*world.ours.rows(), *world.platform.rows()):
        yield from (url(row, "change"), url(row, "history"))
    for page in pages.registered():
        if "<" not in page.path:
            yield f"{reverse(f'admin:{page.name}')}?tenant=ours&period=90d"
    for by in ("model", "provider", "alias", "key", "tenant", "end_user"):
        for name in ("usage", "usage_csv"):
            yield f"{reverse(f'admin:{name}')}?tenant=ours&period=7d&by={by}"
    yield url(call, "history")
    yield "/console/tenants/auditevent/export/"
    for kind in ("pdf", "html", "csv"):
        yield reverse(f"admin:tenants_invoice_{kind}", args=(world.ours.invoice.pk,))
    for words in ("qq-ven", "qq-mod", "flee", request_id_of(call.pk)):
        yield f"{reverse('admin:search')}?q={words}"


def some_addresses(world: World, call: UsageRow, *, default: int, ci: int) -> list[str]:
    """Return the call's own pages, and a sample of all others."""
    own, row, *others = console_addresses(world, call)
    return [own, row, *sampled(others, default=default, ci=ci)]


def api_addresses(api: Api, call: UsageRow) -> Iterator[str]:
    """Yield every route that reads: lists, the rows they name, and what else there is of a row; first those
    of the call itself."""
    yield f"requests/{request_id_of(call.pk)}"
    parts = [getattr(part, "url_patterns", [part]) for part in urlpatterns]
    patterns = [str(one.pattern) for part in parts for one in part]
    for path in patterns:
        if "<" not in path:
            yield path
    for by in ("model", "provider", "alias"):
        yield f"usage?by={by}"
        yield f"reports/usage?group_by={by}"
        yield f"reports/usage?tenant={call.tenant_id}&group_by={by}"
    for path in patterns:
        prefix, one, _rest = path.partition("<str:key>")
        for row in _listed(api, prefix.rstrip("/")) if one else ():
            yield path.replace("<str:key>", str(row["id"]))


def _listed(api: Api, path: str) -> list[dict[str, Any]]:
    answer = api.get(path)
    if answer.status_code != 200 or "data" not in answer.json():
        return []
    return [row for row in answer.json()["data"] if "id" in row][:4]


def words_told(
    get: Callable[[str], Any], addresses: Iterator[str], expected: frozenset[str]
) -> set[str]:
    """Return which of these texts the answers have; ask no further once it is all of them."""
    found: set[str] = set()
    for address in addresses:
        if found >= expected:
            break
        shown = told(get, iter([address]), tuple(expected))
        found |= {each.partition(" at ")[0] for each in shown}
    return found


def told(get: Callable[[str], Any], addresses: Iterable[str], planted: tuple[str, ...]) -> set[str]:
    """Return which planted texts the answers have, each with its address."""
    found = set()
    for address in addresses:
        answer = get(address)
        assert answer.status_code in {200, 302, 400, 403, 404, 405}, (address, answer.status_code)
        shown = answer.content if not answer.streaming else b"".join(answer.streaming_content)
        whole = shown.decode(errors="replace")
        found |= {f"{word} at {address}" for word in planted if word in whole}
    return found


def test_a_customer_is_told_no_cost_and_no_provider_on_any_page(world: World, call: UsageRow):
    client = worlds.staff("billing", world.ours.tenant)
    found = told(client.get, some_addresses(world, call, default=25, ci=60), (*COSTS, *NAMES))
    assert sorted(found) == []
    shown = text(client.get(f"/console/requests/{request_id_of(call.pk)}/"))
    assert "0.06" in shown
    assert "fleet" in shown


def test_a_customer_is_told_no_cost_and_no_provider_by_any_route(world: World, call: UsageRow):
    api = of_member("billing", world.ours.tenant)
    own, *others = api_addresses(api, call)
    asked = [own, *sampled(others, default=30, ci=100)]
    assert sorted(told(api.get, asked, (*COSTS, *NAMES))) == []
    for answered in (
        f"requests/{request_id_of(call.pk)}",
        f"reports/usage?tenant={call.tenant_id}&group_by=alias",
    ):
        assert api.get(answered).status_code == 200


def test_operators_are_told_all_of_it(world: World, call: UsageRow, operator: Client):
    api = of_operator()
    on_pages = frozenset({"777.12", "777.06", VENDOR, MODEL})
    by_routes = frozenset({str(COST_NANO), VENDOR, MODEL})
    assert words_told(operator.get, console_addresses(world, call), on_pages) == on_pages
    assert words_told(api.get, api_addresses(api, call), by_routes) == by_routes


def test_where_upstreams_are_shown_only_costs_are_kept_back(world: World, call: UsageRow):
    Tenant.objects.filter(pk=world.ours.tenant.pk).update(shows_upstreams=True)
    client = worlds.staff("billing", world.ours.tenant)
    found = told(client.get, some_addresses(world, call, default=15, ci=30), (*COSTS, *NAMES))
    words = {each.partition(" at ")[0] for each in found}
    assert VENDOR in words
    assert sorted(each for each in found if each.partition(" at ")[0] in COSTS) == []
