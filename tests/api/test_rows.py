"""Lists, single rows, changes: pages, filters, ETags, repeated requests, errors that name the field."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.db import connections, transaction

from gateway_project.lib import clock
from responses_api.api import kept
from responses_api.models import StoredItem
from responses_api.webhooks import endpoints
from routing import credentials
from routing.models import Credential
from tenants.access.access import OPERATOR
from tenants.billing import periods
from tenants.keys import api_tokens, caller, keys
from tenants.managed import once
from tenants.models import (
    ApiCreation,
    ApiKey,
    ApiToken,
    AuditEvent,
    BillingPeriod,
    Invoice,
    PriceVersion,
)
from tests.api.callers import Api, of_member, of_operator
from tests.console.world import World
from tests.support import kept_rows, usage_rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner(world: World) -> Api:
    return of_member("owner", world.ours.tenant)


# Pages and filters


def pages(api: Api, path: str, limit: int) -> list[list[str]]:
    found, cursor = [], ""
    while True:
        page = api.get(
            f"{path}?limit={limit}&cursor={quote(cursor)}" if cursor else f"{path}?limit={limit}"
        )
        assert page.status_code == 200
        found.append([row["id"] for row in page.json()["data"]])
        cursor = page.json()["next_cursor"]
        if cursor is None:
            return found


def test_pages_hold_every_row_once_in_one_order(world: World, owner: Api):
    for number in range(5):
        keys.create(world.ours.tenant, f"key {number}")

    found = pages(owner, "keys", 2)

    whole = [row["id"] for row in owner.get("keys").json()["data"]]
    assert [len(each) for each in found] == [2, 2, 2]
    assert [key for each in found for key in each] == whole


def test_rows_of_the_same_instant_fall_into_no_gap_between_pages(world: World, owner: Api):
    now = clock.now()
    for number in range(4):
        row = kept_rows.response(world.ours.tenant, said=f"s{number}")
        type(row).objects.update(created_at=now)

    found = pages(owner, "responses", 2)

    assert sorted(key for each in found for key in each) == sorted(
        type(world.ours.response)
        .objects.filter(tenant=world.ours.tenant)
        .values_list("pk", flat=True)
    )


def test_a_row_made_meanwhile_moves_no_page(world: World, owner: Api):
    keys.create(world.ours.tenant, "second")
    first = owner.get("keys?limit=1").json()
    keys.create(world.ours.tenant, "third")

    second = owner.get(f"keys?limit=1&cursor={first['next_cursor']}").json()

    assert second["data"][0]["id"] == world.ours.key.public_id
    assert second["next_cursor"] is None


def test_a_made_up_cursor_is_refused_by_name(world: World, owner: Api):
    keys.create(world.ours.tenant, "second")
    good = owner.get("keys?limit=1").json()["next_cursor"]
    values: list[Any] = [
        [["-pk"], None], [["-pk"], "x"], [["-pk"], 10**30], [["-pk"], True], ["-pk", 1],
        [["-created_at", "-pk"], "2020-01-01", "x"], [], {}, 5,
    ]  # fmt: skip
    made_up = [
        "x", "é", good[:-2], good + "AA", "A" * 5000,
        *(base64.urlsafe_b64encode(json.dumps(value).encode()).decode() for value in values),
    ]  # fmt: skip
    for cursor in made_up:
        answer = owner.get("keys?" + urlencode({"cursor": cursor}))
        assert answer.status_code == 400, cursor
        assert set(answer.json()["errors"]) == {"cursor"}
    assert owner.get(f"responses?cursor={good}").status_code == 400
    times = base64.urlsafe_b64encode(
        json.dumps([["-created_at", "-pk"], "x", "y"]).encode()
    ).decode()
    assert owner.get(f"responses?cursor={times}").status_code == 400


def test_filters_choose_and_name_what_they_cannot_use(world: World, operator: Api):
    ours = world.ours
    chosen = {
        f"keys?tenant={ours.tenant.pk}": [ours.key.public_id],
        f"budgets?api_key={ours.key.public_id}": [ours.budget.pk],
        f"models?tenant={ours.tenant.pk}": [ours.model.pk],
        f"responses?since={quote(clock.now().isoformat())}": [],
        f"responses?tenant={ours.tenant.pk}&status=completed": [ours.response.pk],
        f"responses?tenant={ours.tenant.pk}&status=failed": [],
        f"webhook-deliveries?endpoint={ours.endpoint.pk}&state=pending": [str(ours.delivery.pk)],
        f"webhook-deliveries?endpoint={ours.endpoint.pk}&state=given_up": [],
        "prices?book=cost": [],
        "tenants?slug=ours": [ours.tenant.pk],
        "keys?tenant=987654321": [],
    }
    for path, found in chosen.items():
        assert [row["id"] for row in operator.get(path).json()["data"]] == found, path
    for path, name in {
        "keys?tenant=x": "tenant", "keys?tenant=": "tenant", "keys?tenant=1%00": "tenant",
        "keys?nme=x": "nme", "keys?limit=0": "limit", "keys?limit=201": "limit", "keys?limit=x": "limit",
        "keys?secrets__digest=a": "secrets__digest", "prices?book=x": "book",
        "responses?since=2020-01-01": "since", "webhook-deliveries?endpoint=x": "endpoint",
        "responses?status=x": "status", "webhook-deliveries?state=x": "state",
    }.items():  # fmt: skip
        answer = operator.get(path)
        assert answer.status_code == 400, path
        assert set(answer.json()["errors"]) == {name}


# Changes


def test_a_change_is_made_only_to_what_was_read(world: World, owner: Api):
    place = f"aliases/{world.ours.alias.pk}"
    read = owner.get(place)

    changed = owner.patch(place, {"enabled": False}, if_match=read.headers["etag"])
    late = owner.patch(place, {"enabled": True}, if_match=read.headers["etag"])
    gone = owner.delete(place, if_match=read.headers["etag"])

    assert changed.status_code == 200
    assert changed.json()["enabled"] is False
    assert changed.headers["etag"] not in {"", read.headers["etag"]}
    assert (late.status_code, late.json()["code"]) == (412, "precondition_failed")
    assert gone.status_code == 412
    any_of = f'"other", {changed.headers["etag"]}'
    assert owner.patch(place, {"enabled": True}, if_match=any_of).status_code == 200
    assert owner.patch(place, {"enabled": False}, if_match="*").status_code == 200


def test_using_a_key_makes_no_new_etag(world: World, owner: Api):
    place = f"keys/{world.ours.key.public_id}"
    before = owner.get(place).headers["etag"]

    ApiKey.objects.update(last_used_at=clock.now())

    assert owner.get(place).headers["etag"] == before


def test_errors_name_every_field(world: World, owner: Api):
    answer = owner.post("aliases", {"name": "", "enabled": "yes", "tenat": 1})

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["title"] == "Bad Request"
    assert told["status"] == 400
    assert told["code"] == "invalid_fields"
    assert set(told["errors"]) == {"name", "enabled", "tenat"}


def test_of_very_many_wrong_fields_the_first_are_told_and_how_many_more_there_are(
    world: World, owner: Api
):
    refused = owner.post("keys", {f"field{number}": 1 for number in range(3_000)})
    assert refused.status_code == 400
    assert len(refused.json()["errors"]) == 101
    assert refused.json()["errors"][""] == ["2900 more fields are wrong."]
    assert len(refused.content) < 20_000


def test_bodies_that_are_no_objects_are_refused(world: World, owner: Api):
    bodies: list[Any] = [[], "x", 5, None, True]
    for body in bodies:
        answer = owner.ask("post", "keys", body)
        assert answer.status_code == 400, body
    for raw in (b"{", b'{"name": "\\ud800"}', b"\xff", b"[" * 100_000):
        answer = owner.client.generic("POST", "/api/v1/keys", raw, "application/json")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_json"), raw[:20]


def test_what_is_in_use_stays_and_says_so(world: World, operator: Api):
    answer = operator.delete(f"models/{world.ours.model.pk}")

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "targets" in answer.json()["detail"]


def test_removing_what_is_gone_is_not_found(world: World, owner: Api):
    assert owner.delete(f"grants/{world.ours.alias.grants.get().pk}").status_code == 204
    assert owner.delete("grants/1").status_code == 404


# Secrets


def test_a_credential_goes_in_and_comes_back_as_four_characters(world: World, owner: Api):
    made = owner.post(
        "credentials",
        {"provider": world.ours.provider.pk, "name": "n", "secret": "sk-a-new-secret-1234"},
    ).json()
    row = Credential.objects.get(pk=made["id"])

    sent_back = owner.patch(f"credentials/{row.pk}", {"secret": made["secret"], "name": "m"})

    assert made["secret"] == sent_back.json()["secret"] == "••••1234"
    row.refresh_from_db()
    assert (row.name, credentials.reveal(row).reveal()) == ("m", "sk-a-new-secret-1234")


def test_a_new_key_works_and_a_rotated_one_too(world: World, owner: Api):
    made = owner.post("keys", {"name": "k", "scopes": ["models"]})
    rotated = owner.post(f"keys/{made.json()['id']}/rotate", {"overlap": "1h"})

    first, second = made.json()["secret"], rotated.json()["secret"]
    row = ApiKey.objects.get(public_id=made.json()["id"])
    shown = AuditEvent.objects.filter(action="api_key.secret_shown", object_id=row.pk)
    assert {(each.tenant_id, each.actor_kind) for each in shown} == {(row.tenant_id, "token")}
    assert shown.count() == 2
    assert caller.find(first) is not None
    assert caller.find(second) is not None
    assert {each["shown"][-4:] for each in rotated.json()["secrets"]} == {first[-4:], second[-4:]}
    for body in ({"overlap": "31d"}, {"overlap": "x"}, {"overlap": 5}, {"other": 1}):
        answer = owner.post(f"keys/{made.json()['id']}/rotate", body)
        assert answer.status_code == 400
        assert set(answer.json()["errors"]) == set(body)
    revoked = owner.post(f"keys/{made.json()['id']}/revoke", {"reason": "leaked"}).json()
    assert revoked["revoked_reason"] == "leaked"
    assert caller.find(second) is None
    assert owner.post(f"keys/{made.json()['id']}/rotate").status_code == 400


def test_a_webhooks_secret_is_shown_when_it_is_made_and_rotated(world: World, owner: Api):
    made = owner.post("webhooks", {"url": "https://n.example/hook"}).json()
    place = f"webhooks/{made['id']}"
    rotated = owner.post(f"{place}/rotate").json()

    row = type(world.ours.endpoint).objects.get(pk=made["id"])
    shown = AuditEvent.objects.filter(action="webhook_endpoint.secret_shown", object_id=row.pk)
    assert shown.count() == 2
    assert [each.reveal() for each in endpoints.signing_secrets(row)] == [
        rotated["secret"], made["secret"],
    ]  # fmt: skip
    assert "secret" not in owner.get(place).json()


def test_prices_are_drafted_and_published(world: World, operator: Api):
    draft = {
        "book": "charge", "model": "plat-alias", "effective_from": "2030-01-01T00:00:00Z",
        "lines": [{"token_class": "input_fresh", "pico_per_token": 5}],
    }  # fmt: skip
    made = operator.post("prices", draft).json()
    changed = operator.patch(
        f"prices/{made['id']}", {"lines": [{"token_class": "input_fresh", "pico_per_token": 6}]}
    )
    early = operator.post(f"prices/{made['id']}/publish")
    for lines in (5, [5], [{"token_class": "x", "pico_per_token": 1}], [{"other": 1}],
                  [{"token_class": "input_fresh", "pico_per_token": "1"}]):  # fmt: skip
        answer = operator.post("prices", {**draft, "lines": lines})
        assert (answer.status_code, set(answer.json()["errors"])) == (400, {"lines"})

    assert changed.json()["lines"][0]["pico_per_token"] == 6
    assert early.status_code in {200, 400}
    if early.status_code == 400:
        both = [*made["lines"], {"token_class": "output_visible", "pico_per_token": 7}]
        operator.patch(f"prices/{made['id']}", {"lines": both})
        assert operator.post(f"prices/{made['id']}/publish").status_code == 200
    published = PriceVersion.objects.get(pk=made["id"])
    assert published.published_by == "operator's"
    assert operator.patch(f"prices/{made['id']}", {"source": "x"}).status_code == 403


def test_the_platforms_addresses_are_hidden_from_tenants(world: World, owner: Api, operator: Api):
    place = f"providers/{world.platform.provider.pk}"

    assert owner.get(place).json()["base_url"] is None
    assert operator.get(place).json()["base_url"] == "https://plat.example/v1"
    assert owner.get(f"providers/{world.ours.provider.pk}").json()["base_url"] is not None
    assert owner.get(f"usage/calls/{world.ours.usage.pk}").json()["cost_nano"] is None


def test_stored_responses_are_read_with_their_items(world: World, owner: Api):
    place = f"responses/{world.ours.response.pk}"

    assert "body" not in owner.get("responses").json()["data"][0]
    assert owner.get(place).json()["body"]["object"] == "response"
    assert "ours answer" in json.dumps(owner.get(f"{place}/items").json())
    assert "ours question" in json.dumps(
        owner.get(f"conversations/{world.ours.conversation.pk}/items").json()
    )


def test_items_are_shown_as_far_as_an_answer_has_room(
    world: World, owner: Api, monkeypatch: pytest.MonkeyPatch
):
    given = StoredItem(tenant=world.ours.tenant, response=world.ours.response, side=0, position=0)
    given.item_id, given.body = "msg_1", b'{"type":"message"}'
    given.save()
    place = f"responses/{world.ours.response.pk}/items"
    whole = owner.get(place).json()

    monkeypatch.setattr(kept, "MAX_ITEM_BYTES", 1)

    assert (len(whole["data"]), whole["has_more"]) == (2, False)
    assert owner.get(place).json() == {"data": whole["data"][:1], "has_more": True}


def test_invoices_have_their_documents(world: World, owner: Api):
    place = f"invoices/{world.ours.invoice.pk}"

    pdf, html = owner.get(f"{place}/pdf"), owner.get(f"{place}/html")

    assert pdf.content.startswith(b"%PDF")
    assert pdf.headers["content-type"] == "application/pdf"
    assert b"ours legal name" in html.content
    assert html.headers["content-type"] == "text/html"


def test_a_month_is_closed_finalized_and_credited_over_the_api(world: World, owner: Api):
    tenant, operator = world.ours.tenant, of_operator()
    period = periods.of_month(tenant, f"{clock.now():%Y-%m}")
    usage_rows.usage(tenant, clock.now(), charges={"input_fresh": 70_000_000})
    BillingPeriod.objects.filter(pk=period.pk).update(ends_at=clock.now())
    place = f"billing-periods/{period.pk}"

    used = owner.get(f"{place}/usage").json()
    assert (used["calls"], used["charge_nano"], used["is_over"]) == (1, 70_000_000, True)
    assert operator.post(f"{place}/close", {"force": "yes"}).status_code == 400
    assert operator.post(f"{place}/close", {}).json()["state"] == "draft"
    assert operator.post(f"{place}/close", {}).status_code == 409

    invoice = f"invoices/{Invoice.objects.get(period=period).pk}"
    assert owner.get(f"{invoice}/csv").status_code == 404
    assert operator.post(f"{invoice}/finalize", {}).json()["state"] == "finalized"
    assert b"input_fresh,20,0.070000000,0.07" in owner.get(f"{invoice}/csv").content
    for lines in ("x", [], [1], [{"position": 1}], [{"position": 9, "amount_cents": 1}]):
        asked = {"reason": "late", "lines": lines}
        answer = operator.post(f"{invoice}/credit-note", asked)
        assert (answer.status_code, "lines" in answer.text) == (400, True), lines
    line = {"position": 1, "amount_cents": 5}
    twice = {"reason": "late", "lines": [line, line]}
    assert operator.post(f"{invoice}/credit-note", twice).status_code == 400
    note = operator.post(f"{invoice}/credit-note", {"reason": "late", "lines": [line]})
    assert (note.status_code, note.json()["subtotal_cents"]) == (201, -5)

    standing = owner.get(f"tenants/{tenant.pk}/credit").json()
    assert standing["balance_cents"] == sum(each["left_cents"] for each in standing["left"])


# The same request again


def test_the_same_request_makes_one_key_and_shows_its_secret_once(world: World, owner: Api):
    asked = {"name": "once"}

    first = owner.post("keys", asked, idempotency_key="a")
    again = owner.post("keys", asked, idempotency_key="a")
    other = owner.post("keys", asked, idempotency_key="b")

    assert first.status_code == again.status_code == 201
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == {**first.json(), "secret": None}
    assert first.json()["secret"]
    assert other.json()["id"] != first.json()["id"]
    assert ApiKey.objects.filter(name="once").count() == 2


def test_a_repeated_key_means_the_same_request_of_the_same_token(world: World, owner: Api):
    owner.post("keys", {"name": "once"}, idempotency_key="a")

    for path, body in (("keys", {"name": "twice"}), ("aliases", {"name": "once"})):
        answer = owner.post(path, body, idempotency_key="a")
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    other = of_member("admin", world.ours.tenant)
    assert other.post("keys", {"name": "x"}, idempotency_key="a").status_code == 201
    for key in ("", "x" * 256):
        assert owner.post("keys", {"name": "x"}, idempotency_key=key).status_code == 400


def test_an_api_key_that_was_used_is_removed_only_once_it_is_revoked(world: World, owner: Api):
    made = owner.post("keys", {"name": "busy"}).json()
    ApiKey.objects.filter(public_id=made["id"]).update(last_used_at=clock.now())
    refused = owner.delete(f"keys/{made['id']}")
    assert (refused.status_code, refused.json()["detail"]) == (
        409, "This key was used: revoke it first.",
    )  # fmt: skip
    assert owner.post(f"keys/{made['id']}/revoke", {}).status_code == 200
    assert owner.delete(f"keys/{made['id']}").status_code == 204


def test_a_refused_request_leaves_its_key_free(world: World, owner: Api):
    assert owner.post("keys", {"name": ""}, idempotency_key="a").status_code == 400
    assert owner.post("keys", {"name": "good"}, idempotency_key="a").status_code == 201


def test_what_was_made_and_removed_is_not_made_again(world: World, owner: Api):
    made = owner.post("keys", {"name": "once"}, idempotency_key="a").json()
    owner.delete(f"keys/{made['id']}")

    assert owner.post("keys", {"name": "once"}, idempotency_key="a").status_code == 409


def test_a_key_is_forgotten_after_a_day(world: World, owner: Api):
    owner.post("keys", {"name": "once"}, idempotency_key="a")
    ApiCreation.objects.update(created_at=clock.now() - once.KEPT * 2)

    assert owner.post("keys", {"name": "twice"}, idempotency_key="a").status_code == 201
    assert ApiCreation.objects.count() == 1


@pytest.mark.persistence
@pytest.mark.django_db(transaction=True)
def test_of_requests_at_the_same_time_one_makes_it():
    with transaction.atomic():
        api = of_operator()
        tenant = api.post("tenants", {"name": "Acme"}).json()["id"]
    begin, answers = threading.Barrier(4), []

    def ask() -> None:
        begin.wait()
        try:
            answers.append(api.post("keys", {"tenant": tenant, "name": "k"}, idempotency_key="a"))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [answer.status_code for answer in answers] == [201] * 4
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum(answer.json()["secret"] is not None for answer in answers) == 1


def test_a_token_that_may_only_add_gets_what_it_made(world: World):
    api = of_member("owner", world.ours.tenant, "keys.add")

    made: Any = api.post("keys", {"name": "k"}, idempotency_key="a")
    again = api.post("keys", {"name": "k"}, idempotency_key="a")

    assert made.status_code == again.status_code == 201
    assert made.json()["secret"]
    assert again.json()["id"] == made.json()["id"]
    assert api.get("keys").status_code == 403


def test_who_acted_is_the_token(world: World):
    _, secret = api_tokens.create(OPERATOR, "ci", ["*"])
    api = Api(ApiToken.objects.get(name="ci"), secret)

    made = api.post("credit", {"tenant": world.ours.tenant.pk, "reference": "r", "amount_cents": 5})

    assert made.json()["actor"] == "ci"
    assert made.json()["amount_cents"] == 5


def test_who_reads_or_deletes_what_was_said_is_in_the_audit_log(world: World):
    api = of_member("owner", world.ours.tenant)
    blind = of_member("billing", world.ours.tenant)
    events = AuditEvent.objects.filter(actor_kind="token")
    for prefix, kind, row in (
        ("responses", "response", world.ours.response),
        ("conversations", "conversation", world.ours.conversation),
    ):
        place, about = f"{prefix}/{row.pk}", events.filter(object_id=row.pk)
        foreign = world.theirs.response if kind == "response" else world.theirs.conversation
        api.get(prefix)
        for path in (place, f"{place}/items"):
            assert blind.get(path).status_code in {403, 404}
            assert api.get(path.replace(str(row.pk), str(foreign.pk))).status_code == 404
        assert not events.exists(), kind

        assert api.get(place).status_code == 200
        assert api.get(f"{place}/items").status_code == 200
        assert {(e.action, e.tenant_id, e.actor_id) for e in about} == {
            (f"{kind}.read", world.ours.tenant.pk, api.token.public_id)
        }
        assert about.count() == 2
        assert api.delete(place).status_code == 204
        assert about.filter(action=f"{kind}.deleted").count() == 1
        events = events.exclude(object_id=row.pk)


def test_billing_people_write_their_address_and_operators_terms_tax_and_the_issuer(world: World):
    billing, operator, tenant = of_member("billing", world.ours.tenant), of_operator(), world.ours
    place = f"billing-details/{tenant.details.pk}"

    shown = billing.patch(place, {"address": "1 Road\nTown", "reference": "PO 7"}).json()
    assert (shown["address"], shown["reference"]) == ("1 Road\nTown", "PO 7")
    for wrong in (
        {"tax_basis_points": 0},
        {"terms_days": 9},
        {"note": "No tax."},
        {"payment": "x"},
    ):
        assert billing.patch(place, wrong).status_code == 400
    assert operator.patch(place, {"tax_basis_points": 0}).json()["tax_basis_points"] == 0
    assert operator.patch(place, {"tax_basis_points": 10_001}).status_code == 400

    assert billing.delete(place).status_code == 403  # what is the operators' would go with it
    assert operator.delete(place).status_code == 204
    made = billing.post("billing-details", {"name": "Ours Ltd"})
    assert (made.status_code, made.json()["tenant"]) == (201, tenant.tenant.pk)
    assert billing.delete(f"billing-details/{made.json()['id']}").status_code == 204

    issuer = f"billing-details/{world.platform.details.pk}"
    assert billing.patch(issuer, {"name": "Mine"}).status_code == 404
    assert operator.patch(issuer, {"payment": "IBAN 1"}).json()["payment"] == "IBAN 1"
    document = billing.get(f"invoices/{tenant.invoice.pk}/json")
    assert document.content.decode() == tenant.invoice.canonical
