"""Prove that every change of a recorded row, by whichever way, is an event in the log of its tenant."""

from __future__ import annotations

import json
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.db import transaction

from gateway_project.lib import clock
from gateway_project.lib.actor import Actor, acting
from gateway_project.lib.secret import Secret
from routing import credentials
from tenants.audit import chain, values
from tenants.keys import key_changes, keys
from tenants.models import ApiKey, AuditEvent, Budget, KeySecret, Membership, PriceLine, Tenant
from tenants.prices import publishing
from tenants.prices.rating import Line
from tests.plugins.cases import cases
from tests.support import rows

pytestmark = pytest.mark.django_db

PERSON = Actor("person", "7", "ann", "192.0.2.7")


def told(**conditions: Any) -> list[dict[str, Any]]:
    """The events, oldest first, as they are exported."""
    return [
        chain.content(event) for event in AuditEvent.objects.filter(**conditions).order_by("id")
    ]


def since(work: Any) -> list[dict[str, Any]]:
    """Return what is told of this work."""
    before = set(AuditEvent.objects.values_list("pk", flat=True))
    with acting(PERSON):
        work()
    return [event for event in told() if event["id"] not in {str(pk) for pk in before}]


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


def test_a_change_tells_who_made_it_of_what_and_what_it_was_before(tenant: Tenant):
    tenant.name = "Acme Ltd"

    (event,) = since(tenant.save)

    assert event["action"] == "tenant.changed"
    assert event["tenant"] == tenant.pk
    assert event["actor"] == {"kind": "person", "id": "7", "name": "ann"}
    assert event["address"] == "192.0.2.7"
    assert event["object"] == {"type": "tenant", "id": str(tenant.pk), "name": "Acme Ltd"}
    assert event["changes"] == {"name": ["Acme", "Acme Ltd"]}


def test_every_way_of_writing_is_recorded(tenant: Tenant):
    """The ORM's own ways; the console, commands and jobs use no others."""
    key, _ = keys.create(tenant, "first")
    mine = ApiKey.objects.filter(tenant=tenant)

    def renamed_in_bulk() -> None:
        changed = ApiKey.objects.get(pk=key.pk)
        changed.name = "bulk"
        ApiKey.objects.bulk_update([changed], ["name"])

    ways: list[tuple[Any, str, dict[str, Any]]] = [
        (lambda: mine.update(name="second"), "api_key.changed", {"name": ["first", "second"]}),
        (renamed_in_bulk, "api_key.changed", {"name": ["second", "bulk"]}),
        (
            lambda: Tenant.objects.get(pk=tenant.pk).api_keys.update(name="related"),
            "api_key.changed",
            {"name": ["bulk", "related"]},
        ),
        (
            lambda: ApiKey.objects.update_or_create(pk=key.pk, defaults={"name": "third"}),
            "api_key.changed",
            {"name": ["related", "third"]},
        ),
    ]
    for work, action, changes in ways:
        assert [(e["action"], e["changes"]) for e in since(work)] == [(action, changes)]
    assert [e["action"] for e in since(mine.delete)] == ["key_secret.deleted", "api_key.deleted"]


def test_rows_made_many_at_a_time_are_told_one_by_one(tenant: Tenant):
    made = [Budget(tenant=tenant, name=name, amount_nano=5) for name in ("a", "b")]

    events = since(lambda: Budget.objects.bulk_create(made))

    assert [e["object"]["name"] for e in events] == [str(row) for row in made]
    assert {(e["action"], e["tenant"]) for e in events} == {("budget.created", tenant.pk)}
    assert events[0]["changes"]["amount_nano"] == [None, 5]
    with pytest.raises(ValueError, match="audit log"):
        Budget.objects.bulk_create(made, ignore_conflicts=True)


def test_what_goes_along_with_a_deleted_row_is_told_in_its_tenants_log(tenant: Tenant):
    customer = rows.customer("other")
    provider = rows.provider("chat", "https://up.example/v1", tenant=customer.tenant)
    rows.alias("smart", (provider, "m"), tenant=customer.tenant)

    events = since(customer.tenant.delete)

    assert {e["action"] for e in events} >= {
        *("tenant.deleted", "api_key.deleted", "provider.deleted", "alias.deleted"),
        *("target.deleted", "key_secret.deleted"),
    }
    assert {e["tenant"] for e in events} == {customer.tenant.pk or events[0]["tenant"]}


def test_what_changes_nothing_and_what_is_noise_is_no_event(tenant: Tenant):
    key, _ = keys.create(tenant, "key")
    user = User.objects.create_user("ann")
    assert since(tenant.save) == []
    assert (
        since(lambda: ApiKey.objects.filter(pk=key.pk).update(last_used_at="2026-01-01T00:00Z"))
        == []
    )
    assert since(lambda: KeySecret.objects.update(pepper_id="p2")) == []
    assert since(lambda: user.save(update_fields=["last_login"])) == []


def test_a_change_that_is_taken_back_leaves_no_event(tenant: Tenant):
    def fail() -> None:
        with transaction.atomic():
            Membership.objects.create(tenant=tenant, user=User.objects.create_user("bob"))
            transaction.set_rollback(True)

    assert since(fail) == []


def test_a_row_saved_in_part_tells_that_part_alone(tenant: Tenant):
    key, _ = keys.create(tenant, "key")
    key.name, key.revoked_reason = "renamed", "not written"

    (event,) = since(lambda: key.save(update_fields=["name"]))

    assert event["changes"] == {"name": ["key", "renamed"]}


SECRETS = {
    "sealed": "sk-planted-credential-0123456789",
    "password": "planted-password-77",
    "name": "sk-planted-in-a-name-0123456789",
}


def test_second_factors_are_told_without_their_secrets():
    user = User.objects.create_user("ann")

    def work() -> None:
        held = Authenticator.objects.create(user=user, type="totp", data={"secret": "planted"})
        held.record_usage()
        Authenticator.objects.filter(user=user).delete()

    made, removed = since(work)
    assert (made["action"], removed["action"]) == (
        "second_factor.created",
        "second_factor.deleted",
    )
    assert made["changes"]["user"] == [None, user.pk]
    assert "planted" not in json.dumps([made, removed])


def test_planted_secrets_are_in_no_event(tenant: Tenant):
    provider = rows.provider("chat", "https://up.example/v1", tenant=tenant)

    def work() -> None:
        user = User.objects.create_user("ann", password=SECRETS["password"])
        user.set_password(SECRETS["password"] + "2")
        user.save()
        credentials.create(provider, Secret(SECRETS["sealed"]), tenant=tenant, name=SECRETS["name"])
        key, secret = keys.create(tenant, "key")
        rotated = key_changes.rotate(key, keys.DEFAULT_OVERLAP)
        key.delete()
        planted.extend([secret.reveal(), rotated.secret.reveal(), user.password])

    planted = list(SECRETS.values())
    events = since(work)
    planted += [
        bytes(digest).hex() for digest in KeySecret.objects.values_list("digest", flat=True)
    ]
    sealed = provider.credentials.get().sealed_secret

    found = json.dumps(events, ensure_ascii=False)
    assert [secret for secret in [*planted, sealed] if secret in found] == []
    changed = next(e for e in events if e["action"] == "user.changed")
    assert changed["changes"] == {"password": ["••••", "••••"]}


@cases(
    "value",
    ["a\0b", "x" * 5_000, "\ud800", "umlaut ä, 漢", {"a": [1, None, {"b": "\0"}]}, ["y"] * 3_000],
)
def test_whatever_a_value_is_the_event_can_be_written_and_read(value: Any):
    written = values.canonical({"v": values.plain(value)})
    assert len(written) < 4_100
    written.encode()
    assert "\0" not in written
    assert values.canonical(json.loads(written)) == written


def test_prices_are_told_line_by_line(tenant: Tenant):
    subject = publishing.Subject.charge("smart", tenant)
    events = since(
        lambda: publishing.set_price(
            subject, [Line("input_fresh", 5), Line("output_visible", 6)], "ann", clock.now()
        )
    )

    line = next(e for e in events if e["object"]["name"] == "input_fresh (default)")
    assert line["changes"]["pico_per_token"] == [None, 5]
    assert {e["tenant"] for e in events} == {tenant.pk}
    assert PriceLine.objects.exists()
