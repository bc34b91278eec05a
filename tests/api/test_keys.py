"""A key is made over the management API with all that bounds it, and tells what became of its requests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from gateway_project.lib import clock
from routing.models import Alias
from tenants.models import ApiKey, Budget, BudgetWindow, RateLimit
from tenants.reports import budgets
from tests.api.callers import Api, of_member, of_operator
from tests.console.world import World
from tests.plugins.cases import cases
from tests.support import usage_rows

pytestmark = pytest.mark.django_db

WHOLE = {
    "name": "ci",
    "aliases": ["ours-alias"],
    "limits": [{"metric": "requests", "window": "minute", "amount": 20}],
    "budget": {"amount_nano": 5_000_000_000, "period": "total"},
}


def test_a_key_is_made_with_its_aliases_limits_and_budget(world: World):
    admin = of_member("admin", world.ours.tenant)

    made = admin.post("keys", WHOLE, **{"idempotency-key": "once"})
    again = admin.post("keys", WHOLE, **{"idempotency-key": "once"})

    assert made.status_code == 201, made.content
    told = made.json()
    assert (told["all_aliases"], told["aliases"]) == (False, ["ours-alias"])
    assert told["secret"].startswith(f"tg_live_{told['id']}_")
    assert (again.json()["id"], again.json()["secret"]) == (told["id"], None)
    key = ApiKey.objects.get(public_id=told["id"])
    limit, budget = RateLimit.objects.get(api_key=key), Budget.objects.get(api_key=key)
    assert (str(limit), limit.tenant) == ("20 requests per minute", world.ours.tenant)
    assert (budget.name, budget.amount_nano, budget.period) == ("ci", 5_000_000_000, "total")


@pytest.fixture
def admin(world: World) -> Api:
    return of_member("admin", world.ours.tenant)


@cases(
    ("part", "field", "said"),
    [
        ({"aliases": ["gone"]}, "aliases", "There is no alias 'gone'"),
        ({"aliases": ["zzcanary-alias"]}, "aliases", "There is no alias 'zzcanary-alias'"),
        ({"aliases": "ours-alias"}, "aliases", "Write a list of names."),
        ({"limits": {}}, "limits", "Write a list of objects."),
        ({"limits": [{}] * 21}, "limits", "at most 20"),
        ({"limits": [{"metric": "requests", "amount": 1}]}, "limits", "have a window"),
        ({"limits": [{"metric": "tokens", "window": "day", "amount": 0}]}, "limits", "amount: "),
        ({"limits": [{"tenant": 1}]}, "limits", "tenant: It is the new key's"),
        ({"budget": []}, "budget", "Write an object."),
        ({"budget": {"name": "x"}}, "budget", "amount_nano: This is needed."),
        ({"budget": {"amount_nano": 1, "period": "yearly"}}, "budget", "period: "),
        ({"budget": {"amount_nano": 1, "counts_list_price": True}}, "budget", "counts_list_price"),
        ({"nme": "x"}, "nme", "There is no such field."),
    ],
)
def test_where_a_part_is_wrong_nothing_is_made(
    part: dict[str, object], field: str, said: str, admin: Api
):
    before = ApiKey.objects.count(), RateLimit.objects.count(), Budget.objects.count()

    answer = admin.post("keys", {**WHOLE, **part})

    assert answer.status_code == 400, answer.content
    assert said in " ".join(answer.json()["errors"][field])
    assert (ApiKey.objects.count(), RateLimit.objects.count(), Budget.objects.count()) == before


def test_whoever_may_not_bound_keys_makes_none_with_bounds(world: World):
    developer = of_member("developer", world.ours.tenant)

    refused = developer.post("keys", WHOLE)
    made = developer.post("keys", {"name": "ci", "aliases": ["ours-alias", "plat-alias"]})

    assert refused.status_code == 403
    assert made.json()["aliases"] == ["ours-alias", "plat-alias"]
    assert ApiKey.objects.filter(name="ci").count() == 1


def test_the_aliases_of_a_key_are_changed_by_name(world: World):
    link = Alias.objects.create(
        name="link", tenant=world.ours.tenant, platform_alias=world.platform.alias
    )
    admin, place = of_member("admin", world.ours.tenant), f"keys/{world.ours.key.public_id}"
    before = admin.get(place)

    linked = admin.patch(place, {"aliases": [link.name]})
    stale = admin.patch(place, {"aliases": []}, **{"if-match": before["etag"]})
    both = admin.patch(place, {"aliases": ["ours-alias"], "all_aliases": True})
    single = admin.patch(place, {"aliases": ["ours-alias"]})
    late = admin.patch(place, {"limits": []})

    # What a link leads to is granted with it, and goes with it.
    assert linked.json()["aliases"] == ["link", "plat-alias"]
    assert linked.json()["all_aliases"] is False
    assert stale.status_code == 412
    assert both.status_code == late.status_code == 400
    assert single.json()["aliases"] == ["ours-alias"]


def test_a_budget_tells_how_it_stands(world: World):
    budget = world.ours.budget
    starts_at, ends_at = budgets.current_span(budget, clock.now())
    assert starts_at is not None
    BudgetWindow.objects.filter(budget=budget).delete()
    budget.windows.create(starts_at=starts_at, spent_nano=5 * 10**9, reserved_nano=10**9)

    answer = of_operator().get(f"budgets/{budget.pk}/standing")

    told = answer.json()
    assert (told["used_nano"], told["reserved_nano"], told["left_nano"]) == (
        5 * 10**9, 10**9, 19 * 10**9,
    )  # fmt: skip
    assert ends_at is not None
    assert told["ends_at"] == ends_at.isoformat().replace("+00:00", "Z")
    assert len(told["daily_nano"]) == 7


def test_a_key_tells_what_became_of_its_requests(world: World):
    key, viewer = world.ours.key, of_member("viewer", world.ours.tenant)
    place, now = f"keys/{key.public_id}/first-request", clock.now()

    def call(seconds: int, **fields: Any) -> str:
        row = usage_rows.usage(
            key.tenant, now + timedelta(seconds=seconds), key_id=key.pk, marked=False, **fields
        )
        return f"req_{row.pk.hex[:-4]}0000"

    waiting = viewer.get(place).json()
    failed = call(1, status="failed", error_code="upstream_auth_failed")
    refused = viewer.get(place).json()
    answered = call(2)
    call(3, status="failed", error_code="upstream_timeout")
    done = viewer.get(place).json()

    assert (waiting["state"], waiting["request_id"]) == ("waiting", None)
    assert (refused["state"], refused["request_id"], refused["cure"]) == (
        "failed", failed, "provider",
    )  # fmt: skip
    assert refused["sentence"] == "The provider refused the gateway's credential."
    assert (done["state"], done["request_id"]) == ("answered", answered)
    assert of_member("owner", world.ours.tenant, "keys.view").get(place).status_code == 403
    assert of_member("admin", world.theirs.tenant).get(place).status_code == 404
