"""Pages of providers, aliases and prices: what they show, do and refuse, against a real upstream."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse

from gateway_project.lib import clock
from gateway_project.sandbox import SandboxServer
from routing import model_sync, side_calls, testing
from routing.admin.object_fields import QuirksField
from routing.models import Alias, Credential, Provider, ProviderModel, Target, UpstreamTest
from routing.route import Quirks
from routing.upstream import checked_transport
from tenants.access.access import OPERATOR
from tenants.billing import rollups
from tenants.models import PriceVersion, Tenant
from tenants.prices import publishing
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line
from tests.commands.conftest import sandbox as sandbox  # noqa: PLC0414  # a fixture
from tests.console import world as worlds
from tests.console.pages import alias_form, assert_clean, provider_form, queries_of, text, url
from tests.console.world import World
from tests.support import rows, usage_rows

pytestmark = pytest.mark.django_db

KEY = "sandbox-key-0123456789"
SETUP = "admin:provider_setup"
MOST_QUERIES = 12


@pytest.fixture(autouse=True)
def no_tests_yet() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def draft(sandbox: SandboxServer, **fields: Any) -> dict[str, Any]:
    return {
        "name": "fresh",
        "protocol": "chat",
        "base_url": sandbox.base_url,
        "auth_kind": "bearer",
        "allow_private_network": "on",
        "secret": KEY,
        **fields,
    }


def kept_in(page: str) -> str:
    found = re.search(r'name="kept" value="([^"]+)"', page)
    assert found is not None
    return found[1]


# Setting up a provider


def test_a_vendor_s_form_is_filled_in_and_nothing_is_saved_by_looking(operator: Client):
    chosen = text(operator.get(reverse(SETUP)))
    filled = text(operator.get(reverse(SETUP), {"vendor": "groq"}))

    assert "vendor=groq" in chosen
    assert 'value="https://api.groq.com/openai/v1"' in filled
    assert not Provider.objects.exists()


def test_a_test_before_saving_lists_models_and_a_save_makes_everything(
    sandbox: SandboxServer, operator: Client
):
    tried = operator.post(reverse(SETUP), draft(sandbox, do="test"))
    page = text(tried)

    assert tried.status_code == 200
    assert "lists" in page
    assert 'value="sandbox-mini"' in page
    assert KEY not in page
    assert not Provider.objects.exists()

    sent = draft(sandbox, do="save", secret="", kept=kept_in(page))
    models = {"model-0": "sandbox-1", "alias-0": "quick", "take-0": "on", "model-1": "other"}
    saved = operator.post(reverse(SETUP), {**sent, **models, "alias-1": "left"})

    provider = Provider.objects.get(name="fresh")
    assert saved["location"] == url(provider, "change")
    assert Credential.objects.get(provider=provider).last_four == KEY[-4:]
    assert [row.upstream_id for row in provider.provider_models.all()] == ["sandbox-1"]
    [target] = Target.objects.filter(alias__name="quick")
    assert target.provider_model.provider == provider
    assert not Alias.objects.filter(name="left").exists()
    tested = text(operator.post(f"{url(provider, 'change')[:-7]}do/test_provider/", follow=True))
    assert "It answered after" in tested


def test_one_alias_that_is_taken_undoes_the_whole_set_up(sandbox: SandboxServer, operator: Client):
    Alias.objects.create(name="taken")
    sent = draft(sandbox, do="save", **{"model-0": "m", "alias-0": "taken", "take-0": "on"})

    refused = operator.post(reverse(SETUP), sent)

    assert refused.status_code == 400
    assert "taken: " in text(refused)
    assert KEY not in text(refused)
    assert not Provider.objects.exists()
    assert not Credential.objects.exists()


def test_what_would_keep_it_from_answering_is_told_before_it_is_saved(
    sandbox: SandboxServer, operator: Client
):
    sent = draft(sandbox, base_url="http://10.0.0.7:9000/", secret="", do="save")
    del sent["allow_private_network"]

    warned = text(operator.post(reverse(SETUP), sent))

    for word in ("10.0.0.7 is a private address", "has no version", "has no credential yet"):
        assert word in warned
    assert not Provider.objects.exists()
    operator.post(reverse(SETUP), {**sent, "warned": "yes"})
    assert Provider.objects.get().name == "fresh"


def test_a_kept_secret_is_for_its_person_its_host_and_an_hour(
    sandbox: SandboxServer, operator: Client, monkeypatch: pytest.MonkeyPatch
):
    kept = kept_in(text(operator.post(reverse(SETUP), draft(sandbox, do="test"))))
    again = draft(sandbox, do="test", secret="", kept=kept)
    elsewhere = {**again, "base_url": "http://127.0.0.1:9/v1"}

    assert "lists" in text(operator.post(reverse(SETUP), again))
    assert "Enter the secret key again" in text(operator.post(reverse(SETUP), elsewhere))
    other = worlds.signed_in(User.objects.create_superuser("another"))
    assert "Enter the secret key again" in text(other.post(reverse(SETUP), again))
    later = clock.now() + timedelta(hours=2)
    monkeypatch.setattr("routing.kept_secret.clock.now", lambda: later)
    assert operator.post(reverse(SETUP), again).status_code in {302, 400}


def test_an_upstream_that_refuses_breaks_off_or_lies_is_told_in_its_own_words(
    sandbox: SandboxServer, operator: Client, monkeypatch: pytest.MonkeyPatch
):
    wrong = text(
        operator.post(reverse(SETUP), draft(sandbox, secret="wrong-key-987654", do="test"))
    )
    assert "It answered 401" in wrong
    assert "wrong-key-987654" not in wrong
    nowhere = draft(sandbox, base_url=sandbox.base_url.replace("/v1", "/nowhere/v1"), do="test")
    assert "It answered 404" in text(operator.post(reverse(SETUP), nowhere))
    gone = draft(sandbox, base_url="http://127.0.0.1:9/v1", do="test")
    assert "ConnectError" in text(operator.post(reverse(SETUP), gone))
    monkeypatch.setattr(side_calls, "MAX_BODY_BYTES", 10)
    assert "Its answer is larger" in text(operator.post(reverse(SETUP), draft(sandbox, do="test")))
    assert not Provider.objects.exists()


def test_tenant_people_reach_no_private_address_and_test_so_often(
    sandbox: SandboxServer, world: World, admin: Client, monkeypatch: pytest.MonkeyPatch
):
    sent = draft(sandbox, tenant=world.ours.tenant.pk, do="test")

    told = text(admin.post(reverse(SETUP), sent))

    assert "private or loopback address" in told
    assert "egress policy" not in told
    assert not sandbox.calls
    monkeypatch.setattr(testing, "MOST_PER_MINUTE", 1)
    assert "tests in a minute" in text(admin.post(reverse(SETUP), sent))


def test_nobody_sets_up_for_another_tenant_or_without_the_right(
    sandbox: SandboxServer, world: World, admin: Client, viewer: Client
):
    before = Provider.objects.count()
    for tenant in (world.theirs.tenant.pk, ""):
        answer = admin.post(reverse(SETUP), draft(sandbox, tenant=tenant, do="save", warned="yes"))
        assert answer.status_code == 400
        assert_clean(answer)
    for client in (viewer, worlds.staff("billing", world.ours.tenant)):
        assert client.get(reverse(SETUP)).status_code == 403
        assert client.post(reverse(SETUP), draft(sandbox, do="test")).status_code == 403
    assert Provider.objects.count() == before
    assert not sandbox.calls


# How upstreams are doing


def two_targets(sandbox: SandboxServer) -> Alias:
    provider = rows.provider("chat", sandbox.base_url, "up", KEY)
    return rows.alias("smart", (provider, "sandbox-1"), (provider, "sandbox-fault-500"))


def press(client: Client, alias: Alias, **button: Any) -> str:
    address = reverse("admin:routing_alias_targets", args=(alias.pk,))
    return text(client.post(address, button, follow=True))


def test_targets_are_moved_and_tested_from_the_alias_s_page(
    sandbox: SandboxServer, operator: Client
):
    alias = two_targets(sandbox)
    good, bad = alias.targets.order_by("position")

    assert "was answered after" in press(operator, alias, test=good.pk)
    assert "sandbox-fault-500 failed: " in press(operator, alias, test=bad.pk)
    press(operator, alias, up=bad.pk)

    assert list(alias.targets.order_by("position")) == [bad, good]
    press(operator, alias, up=bad.pk)  # it is the first already
    assert list(alias.targets.order_by("position")) == [bad, good]
    page = text(operator.get(url(alias, "change")))
    assert "its last test failed" in page
    assert "at most" in page
    assert {test.ok for test in UpstreamTest.objects.all()} == {True, False}


def test_a_target_of_another_tenant_is_neither_tested_nor_moved(
    world: World, admin: Client, developer: Client
):
    theirs = world.theirs.alias.targets.get()
    ours = world.ours.alias.targets.get()
    for button in ({"test": theirs.pk}, {"up": theirs.pk}, {"test": "x"}):
        address = reverse("admin:routing_alias_targets", args=(world.ours.alias.pk,))
        assert admin.post(address, button).status_code == 404
        theirs_page = reverse("admin:routing_alias_targets", args=(world.theirs.alias.pk,))
        assert admin.post(theirs_page, button).status_code == 404
    address = reverse("admin:routing_alias_targets", args=(world.ours.alias.pk,))
    assert developer.post(address, {"test": ours.pk}).status_code == 403
    platforms = reverse("admin:routing_alias_targets", args=(world.platform.alias.pk,))
    assert admin.post(platforms, {"up": world.platform.alias.targets.get().pk}).status_code == 403
    assert not UpstreamTest.objects.exists()


def test_an_answer_that_is_none_of_its_protocol_fails_the_test(
    operator: Client, monkeypatch: pytest.MonkeyPatch
):
    provider = rows.provider("chat", "http://127.0.0.1:9/v1", "up")
    alias = rows.alias("smart", (provider, "m"))
    for body in (b'{"hello": "world"}', b"<html>welcome</html>", b'{"error": {"message": "no"}}'):

        async def lie(*_: Any, body: bytes = body) -> httpx.Response:
            return httpx.Response(200, content=body)

        transport = checked_transport.AsyncCheckedTransport
        monkeypatch.setattr(transport, "handle_async_request", lie)
        press(operator, alias, test=alias.targets.get().pk)
        assert not UpstreamTest.objects.get().ok, body


def test_no_upstream_fills_the_memory_or_the_tables_with_its_list(
    operator: Client, monkeypatch: pytest.MonkeyPatch
):
    provider = rows.provider("chat", "http://127.0.0.1:9/v1", "up")
    monkeypatch.setattr(model_sync, "MAX_MODELS", 3)
    many = json.dumps({"data": [{"id": f"m-{number}"} for number in range(4)]}).encode()
    empty = b'{"data": [' + b"{}," * 600_000 + b"{}]}"
    for headers, body, told in (
        ({"content-encoding": "gzip, gzip"}, gzip.compress(gzip.compress(many)), "not asked for"),
        ({}, many, "lists more than 3 models"),
        ({}, empty, "not JSON"),
    ):

        async def lie(*_: Any, headers: Any = headers, body: bytes = body) -> httpx.Response:
            return httpx.Response(200, headers=headers, stream=httpx.ByteStream(body))

        transport = checked_transport.AsyncCheckedTransport
        monkeypatch.setattr(transport, "handle_async_request", lie)
        with pytest.raises(ValidationError, match=told):
            testing.sync_models(OPERATOR, provider)
    assert not ProviderModel.objects.exists()


def test_a_list_whose_pages_take_their_time_is_given_up_as_a_whole(
    operator: Client, monkeypatch: pytest.MonkeyPatch
):
    pages = []

    async def drip(*_: Any) -> httpx.Response:
        pages.append(1)
        body = {"data": [{"id": "m"}], "has_more": True, "last_id": f"m-{len(pages)}"}
        return httpx.Response(200, json=body)

    monkeypatch.setattr(checked_transport.AsyncCheckedTransport, "handle_async_request", drip)
    monkeypatch.setattr(model_sync, "MAX_SECONDS", -1.0)
    provider = rows.provider("anthropic", "http://127.0.0.1:9/v1", "up")
    with pytest.raises(ValidationError, match="does not end within"):
        testing.sync_models(OPERATOR, provider)
    assert len(pages) == 1


def test_an_upstream_that_never_answers_is_given_up(
    sandbox: SandboxServer, operator: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(side_calls, "DEADLINE_SECONDS", 0.5)
    provider = rows.provider("chat", sandbox.base_url, "up", KEY)
    alias = rows.alias("smart", (provider, "sandbox-fault-silence"))

    assert "did not answer within 0.5 seconds" in press(
        operator, alias, test=alias.targets.get().pk
    )


def test_lists_tell_health_price_and_requests_to_whom_they_concern(world: World, admin: Client):
    now = clock.now()
    for tenant, status, calls in (("ours", "completed", 3), ("ours", "failed", 1)):
        for number in range(calls):
            usage_rows.usage(
                world.ours.tenant if tenant == "ours" else world.theirs.tenant,
                now - timedelta(microseconds=number + 10 * calls),
                alias="plat-alias",
                provider="plat-provider",
                upstream_model="plat-model",
                status=status,
            )
    usage_rows.usage(
        world.theirs.tenant,
        now,
        alias="plat-alias",
        provider="plat-provider",
        upstream_model="plat-model",
    )
    rollups.recompute_dirty()

    ours = text(admin.get(url(Alias, "changelist")))
    all_of_it = text(worlds.operator().get(url(Alias, "changelist")))

    assert "1 of 4 calls" in ours
    assert "1 of 5 calls" in all_of_it
    assert "$1.00" in ours
    assert "$4.00" in ours
    providers = text(admin.get(url(Provider, "changelist")))
    assert "75 % of 4" in providers


def test_the_platform_s_tests_are_no_tenant_s_business(world: World, admin: Client):
    for side in (world.platform, world.ours):
        UpstreamTest.objects.create(
            provider=side.provider,
            tested_at=clock.now(),
            ok=False,
            latency_ms=3,
            error=f"failed at {side.provider.name}.internal",
        )

    listed = text(admin.get(url(Provider, "changelist")))
    page = text(admin.get(url(world.platform.provider, "change")))

    assert "ours-provider.internal" in listed
    assert "plat-provider.internal" not in listed + page
    assert "ours-provider.internal" in text(admin.get(url(world.ours.provider, "change")))


def test_deleting_a_provider_names_the_aliases_that_lose_a_target(
    sandbox: SandboxServer, operator: Client
):
    alias = two_targets(sandbox)
    other = rows.provider("chat", "https://other.example/v1", "other")
    rows.alias("lonely", (other, "m"))
    both = rows.alias("both", (other, "m"), (Provider.objects.get(name="up"), "sandbox-1"))

    asked = text(operator.get(url(other, "delete")))

    assert "Alias “lonely” loses other/m and has nothing left" in asked
    assert "Alias “both” loses other/m; its other targets stay." in asked
    assert "smart" not in asked
    operator.post(url(other, "delete"), {"post": "yes"})
    assert not Provider.objects.filter(name="other").exists()
    assert [str(row.provider_model) for row in both.targets.all()] == ["up/sandbox-1"]
    assert alias.targets.count() == 2


# Prices


def prices_page(client: Client, **asked: str) -> str:
    return text(client.get(reverse("admin:prices"), asked))


def traffic(tenant: Tenant, **fields: Any) -> None:
    at = clock.now()
    usage_rows.usage(
        tenant,
        at,
        tokens={"input_fresh": 1_000_000, "output_visible": 500_000},
        charges={"input_fresh": 3_000_000_000},
        provider="plat-provider",
        upstream_model="plat-model",
        alias="plat-alias",
        **fields,
    )
    rollups.recompute_dirty()


def test_models_with_traffic_and_no_price_come_first(world: World, operator: Client):
    ProviderModel.objects.create(provider=world.platform.provider, upstream_id="aaa-unused")
    traffic(world.ours.tenant, charge_version=None, cost_version=None)

    page = prices_page(operator)

    assert page.index("plat-provider/plat-model") < page.index("plat-provider/aaa-unused")
    assert "1 call in 30 days" in page
    assert page.count("Price this model") == 2


def test_a_price_is_previewed_on_what_was_used_and_published_for_new_calls(
    world: World, operator: Client
):
    traffic(world.ours.tenant)
    old = publishing.set_price(
        Subject.cost("plat-provider", "plat-model"),
        [
            Line("input_fresh", 3_000_000),
            Line("output_visible", 4_000_000),
            Line("input_fresh", 9_000_000, "priority"),
        ],
        "test",
        clock.now() - timedelta(days=1),
    )
    address = f"{reverse('admin:price')}?provider=plat-provider&model=plat-model"
    shown = text(operator.get(address))
    assert 'value="3.00"' in shown
    assert "input, tier priority" in shown

    sent = {"input": "$2.75", "output": "3.999999", "keeps_further": "on", "seen": str(old.pk)}
    seen = text(operator.post(address, {**sent, "do": "preview"}))
    assert "$5.00 → $4.75" in seen
    assert PriceVersion.objects.filter(book="cost").count() == 1
    digest = re.search(r'name="previewed" value="(\w+)"', seen)
    assert digest is not None
    other = {**sent, "input": "9", "previewed": digest[1], "do": "publish"}
    assert "→ $11.00" in text(operator.post(address, other))
    assert PriceVersion.objects.filter(book="cost").count() == 1

    published = operator.post(address, {**sent, "previewed": digest[1], "do": "publish"})

    assert published.status_code == 302
    new = PriceVersion.objects.filter(book="cost").order_by("-pk")[0]
    assert {
        (line.token_class, line.service_tier, line.pico_per_token) for line in new.lines.all()
    } == {
        ("input_fresh", "default", 2_750_000),
        ("output_visible", "default", 3_999_999),
        ("input_fresh", "priority", 9_000_000),
    }
    assert publishing.lines_of(old)[0].pico_per_token in {3_000_000, 4_000_000, 9_000_000}
    history = text(operator.get(address))
    assert "$3.00" in history
    assert "$2.75" in history
    again = operator.post(address, {**sent, "previewed": digest[1], "do": "publish"})
    assert "published meanwhile" in text(again)


def test_dollars_are_taken_exactly_or_not_at_all(operator: Client):
    address = f"{reverse('admin:price')}?alias=smart"
    for typed, said in (
        ("1.0000001", "finer than a millionth of a dollar per million tokens"),
        ("1,5", "is not an amount"),
        ("-1", "is not a price"),
        ("1e400", "is more than any price"),
        ("NaN", "is not a price"),
    ):
        answer = operator.post(address, {"input": typed, "output": "1", "do": "preview"})
        assert answer.status_code == 400, typed
        assert said in text(answer), typed
    answer = operator.post(address, {"input": "1", "output": "1", "starts": "soon"})
    assert "Write a date such as" in text(answer)
    assert not PriceVersion.objects.exists()


def test_tenants_see_the_prices_that_hold_for_them_and_nothing_of_others(
    world: World, admin: Client
):
    cost = [Line("input_fresh", 7_770_000), Line("output_visible", 8_880_000)]
    publishing.set_price(Subject.cost("plat-provider", "plat-model"), cost, "test", clock.now())
    rows.alias("passed-on", (world.platform.provider, "plat-model"))
    own = publishing.set_price(
        Subject.charge("plat-alias", world.ours.tenant),
        [Line("input_fresh", 5_550_000), Line("output_visible", 6_660_000)],
        "somebody",
        clock.now(),
    )
    publishing.set_price(
        Subject.charge("plat-alias", world.theirs.tenant),
        [Line("input_fresh", 1_230_000), Line("output_visible", 6_660_000)],
        "test",
        clock.now(),
    )

    page = prices_page(admin)

    assert "$5.55" in page
    assert "$7.77" in page  # what the model costs is what is charged for it
    assert "$1.23" not in page
    assert "plat-provider" not in page
    assert "Price this model" not in page
    subject = text(admin.get(reverse("admin:price"), {"alias": "plat-alias", "tenant": "ours"}))
    assert "$5.55" in subject
    assert "somebody" not in subject
    assert own.source == ""
    assert "Set a price" not in subject
    for asked in (
        {"provider": "plat-provider", "model": "plat-model"},
        {"alias": "zzcanary-alias"},
        {"alias": "plat-alias", "tenant": "zzcanary"},
    ):
        assert admin.get(reverse("admin:price"), asked).status_code == 404
    assert admin.post(f"{reverse('admin:price')}?alias=plat-alias", {}).status_code == 403
    assert admin.get(reverse("admin:price_import")).status_code == 403


def test_tenants_that_see_aliases_only_are_told_no_price_that_tells_of_models(
    world: World, admin: Client
):
    Tenant.objects.filter(pk=world.ours.tenant.pk).update(shows_upstreams=False)
    for model, pico in (("a", 7_770_000), ("b", 1_110_000)):
        lines = [Line("input_fresh", pico), Line("output_visible", pico)]
        publishing.set_price(Subject.cost("plat-provider", model), lines, "test", clock.now())
    rows.alias("mixed", (world.platform.provider, "a"), (world.platform.provider, "b"))
    rows.alias("plain", (world.platform.provider, "b"))

    page = prices_page(admin)

    assert "$7.77" not in page
    assert "$1.11" in page
    assert "differs by what answers" in page


LIST = {
    "source": "ours",
    "list_date": "2026-11-01",
    "left_out": {},
    "vendors": {
        "plat": {
            "url": "https://plat",
            "models": [
                {
                    "id": "plat-model",
                    "names": {"equals": "plat-model"},
                    "prices": [
                        {"lines": [["input_fresh", 2_000_000], ["output_visible", 3_000_000]]}
                    ],
                }
            ],
        }
    },
}


def test_a_price_list_is_compared_and_what_is_ticked_published(world: World, operator: Client):
    address = reverse("admin:price_import")
    file = io.BytesIO(json.dumps(LIST).encode())
    file.name = "list.json"

    compared = text(operator.post(address, {"file": file, "do": "preview"}))

    assert "ours of 2026-11-01" in compared
    assert "none → $2.00" in compared
    assert not PriceVersion.objects.filter(book="cost").exists()
    content, seen = (
        re.search(rf'name="{name}" value="([^"]+)"', compared) for name in ("content", "seen")
    )
    assert content is not None
    assert seen is not None
    sent = {"content": content[1], "seen": seen[1], "do": "publish"}
    operator.post(address, sent)
    assert not PriceVersion.objects.filter(book="cost").exists()  # nothing was ticked
    operator.post(address, {**sent, "take-plat-provider/plat-model": "on"})
    made = PriceVersion.objects.get(book="cost")
    assert (made.source, made.published_by) == ("ours of 2026-11-01", "operator")
    stale = operator.post(address, {**sent, "take-plat-provider/plat-model": "on"}, follow=True)
    assert "changed meanwhile" in text(stale)


def test_what_is_no_price_list_is_refused_with_a_sentence(operator: Client):
    bad_pattern = json.loads(json.dumps(LIST))
    bad_pattern["vendors"]["plat"]["url"] = "("
    for content in (b"{", b"[]", json.dumps(bad_pattern).encode(), b"x" * (2 * 1024 * 1024 + 1)):
        file = io.BytesIO(content)
        file.name = "list.json"
        answer = operator.post(reverse("admin:price_import"), {"file": file}, follow=True)
        assert answer.status_code == 400
        assert "price list" in text(answer) or "larger than" in text(answer)
    broken = operator.post(reverse("admin:price_import"), {"content": "!"})
    assert "upload it again" in text(broken)


def test_pages_ask_few_questions_however_much_there_is(world: World, operator: Client):
    addresses = [
        reverse("admin:prices"),
        reverse("admin:price_import"),
        f"{reverse('admin:price')}?provider=plat-provider&model=plat-model",
        reverse(SETUP),
    ]
    for number in range(20):
        subject = Subject.cost("plat-provider", f"m{number}")
        lines = [Line("input_fresh", number + 1), Line("output_visible", 1)]
        publishing.set_price(subject, lines, "test", clock.now())
        rows.alias(f"alias-{number}", (world.platform.provider, f"m{number}"))
    admin = worlds.staff("admin", world.ours.tenant)
    for client, address in (*((operator, each) for each in addresses), (admin, addresses[0])):
        asked = queries_of(client, address, MOST_QUERIES)
        assert len(asked) <= MOST_QUERIES, (address, len(asked))


# Where a request goes


def test_the_page_explains_what_its_address_or_its_form_asks(world: World, admin: Client) -> None:
    address = reverse("admin:explain_route")
    mine = world.ours.alias
    page = text(admin.get(address, {"alias": mine.name, "key": world.ours.key.public_id}))
    assert str(mine.targets.get().provider_model) in page
    assert "100 %" in page
    asked = {"alias": mine.name, "body": '{"input": "Hi", "stream": true}'}
    assert "100 %" in text(admin.post(address, asked))
    assert "not valid JSON" in text(admin.post(address, {**asked, "body": "{"}))
    for foreign in (
        {"alias": world.theirs.alias.name},
        {**asked, "key": world.theirs.key.public_id},
    ):
        page = text(admin.post(address, foreign))
        assert "100 %" not in page


def test_quirks_and_limits_of_a_provider_are_ticked_chosen_and_counted(operator: Client):
    given = {
        "quirks_no_stream_usage": "on",
        "quirks_thinking": "adaptive",
        "quirks_keepalive_seconds": "0",
        "limits_concurrency": "50",
    }
    operator.post(url(Provider, "add"), provider_form(**given))

    row = Provider.objects.get(name="new-provider")
    assert row.quirks == {
        "no_stream_usage": True,
        "thinking": "adaptive",
        "keepalive_seconds": 0,
    }
    assert row.limits == {"concurrency": 50}
    page = text(operator.get(url(row, "change")))
    assert '<option value="adaptive" selected>' in page
    assert 'name="limits_concurrency" value="50"' in page

    operator.post(url(row, "change"), provider_form(limits_concurrency=""))
    row.refresh_from_db()
    assert (row.quirks, row.limits) == ({}, {})


def test_every_quirk_of_a_provider_can_be_chosen():
    assert set(QuirksField().parts) == {each.name for each in dataclasses.fields(Quirks)}


CONDITIONS: dict[str, Any] = {
    "input_tokens": {"lte": 8000},
    "stream": False,
    "needs": ["tools", "vision"],
    "budget_used_percent": {"gte": 80},
    "tags.team": ["search", "ads"],
    "tags.tier": "gold: 1",
    "route": "responses",
    "reasoning_effort": ["high", "xhigh"],
    "key": "0123456789",
}


def test_the_calls_a_target_is_for_are_chosen_and_stay_when_something_else_is_saved(
    world: World, operator: Client
):
    target = Target.objects.get(alias=world.ours.alias)
    when = "targets-0-when"
    row = {"id": target.pk, "position": 0, "provider_model": target.provider_model_id}
    lines = {
        "at_most": "8000",
        "stream": "false",
        "needs": ["tools", "vision"],
        "budget_used_percent": "80",
        "tags": "team: search\nteam: ads\ntier: gold: 1",
        "route": "responses",
        "reasoning_effort": "high\nxhigh",
        "key": "0123456789",
    }
    chosen = {f"{when}_{name}": value for name, value in lines.items()}
    form = {**alias_form(row, name="ours-alias"), "targets-INITIAL_FORMS": 1, **chosen}

    operator.post(url(world.ours.alias, "change"), form)

    target.refresh_from_db()
    assert target.when == CONDITIONS
    assert list(target.when) == list(CONDITIONS)
    page = text(operator.get(url(world.ours.alias, "change")))
    assert "<summary>Input tokens, at most, Streams, It needs all of" in page
    assert f'name="{when}_at_most" value="8000"' in page

    del form[f"{when}_at_most"]
    operator.post(url(world.ours.alias, "change"), form)
    target.refresh_from_db()
    assert target.when == {word: CONDITIONS[word] for word in [*CONDITIONS][1:]}

    wrong = {**form, f"{when}_tags": "search", f"{when}_budget_used_percent": "100"}
    refused = text(operator.post(url(world.ours.alias, "change"), wrong))
    assert "Budget used, at least %: Ensure this value is less than or equal to 99." in refused
    assert '<details class="tg-parts-fold" open>' in refused
