"""Sign-ins are recorded one by one, failed ones counted, however many come."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from gateway_project.lib import clock
from tenants.audit import sign_ins
from tenants.models import AuditEvent, FailedSignIns, Membership, Tenant
from tenants.sign_in import slowdown
from tests.console.test_sign_in import set_up_totp

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough password"


@pytest.fixture(autouse=True)
def quick_hashes(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let wrong passwords be tried one after another, which they are kept from elsewhere."""
    over = threading.Event()
    over.set()
    monkeypatch.setattr(slowdown, "wait", over)


@pytest.fixture
def member() -> Membership:
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    user = User.objects.create_user("ann", password=PASSWORD, is_staff=True)
    return Membership.objects.create(tenant=tenant, user=user, role="viewer")


def sign_in(name: str, password: str = "wrong", address: str = "192.0.2.7") -> Client:
    client = Client(REMOTE_ADDR=address)
    client.post("/console/accounts/login/", {"login": name, "password": password})
    return client


def told(action: str) -> list[tuple[Any, ...]]:
    rows = AuditEvent.objects.filter(action=action).order_by("id")
    return list(rows.values_list("tenant", "actor_name", "address", "object_name"))


def minute_later(monkeypatch: Any) -> None:
    later = clock.timestamp() + 61
    monkeypatch.setattr(clock, "timestamp", lambda: later)


def failures(monkeypatch: Any) -> list[dict[str, Any]]:
    minute_later(monkeypatch)
    assert sign_ins.is_any_minute_over()
    list(sign_ins.record_failures())
    assert not FailedSignIns.objects.exists()
    rows = AuditEvent.objects.filter(action="sign_in.failed").order_by("id")
    return [
        {"tenant": row.tenant_id, "address": row.address, "account": row.object_name}
        | {"count": json.loads(row.details)["count"]}
        for row in rows
    ]


def test_who_signs_in_and_out_is_told_in_the_log_of_their_tenant(member: Membership):
    client = sign_in("ann", PASSWORD)
    client.post("/console/logout/")

    expected = [(member.tenant_id, "ann", "192.0.2.7", "ann")]
    assert told("sign_in.succeeded") == told("sign_in.ended") == expected


def test_sign_ins_of_operators_are_told_in_the_platforms_log(db: None):
    User.objects.create_superuser("root", password=PASSWORD)
    sign_in("root", PASSWORD)

    assert told("sign_in.succeeded") == [(None, "root", "192.0.2.7", "root")]


def test_an_operator_who_is_a_member_somewhere_is_told_of_in_the_platforms_log_too(
    member: Membership,
):
    User.objects.filter(pk=member.user_id).update(is_superuser=True)
    sign_in("ann", PASSWORD)
    assert [row[0] for row in told("sign_in.succeeded")] == [None, member.tenant_id]


def test_wrong_codes_and_links_that_open_nothing_count_as_failed(member: Membership, monkeypatch):
    browser = Client(REMOTE_ADDR="192.0.2.7")
    form = {"login": "ann", "password": PASSWORD}
    browser.post("/console/accounts/login/", form)
    set_up_totp(browser)
    browser.post("/console/logout/")
    assert browser.post("/console/accounts/login/", form).status_code == 302
    code = browser.post("/console/accounts/2fa/authenticate/", {"code": "000000"})
    assert b"Incorrect code" in code.content
    link = "/console/invitations/tg_inv_" + "x" * 32 + "/"
    assert browser.get(link).status_code == 404

    told_of = {(each["tenant"], each["account"], each["count"]) for each in failures(monkeypatch)}
    assert told_of == {(member.tenant_id, "ann", 1), (None, "", 1)}


def test_failed_sign_ins_of_a_minute_are_one_event_with_a_count(member: Membership, monkeypatch):
    for _ in range(3):
        sign_in("ann")
    sign_in("ann", address="192.0.2.8")
    sign_in("nobody")
    assert not AuditEvent.objects.filter(action="sign_in.failed").exists()

    found = failures(monkeypatch)

    mine = {"tenant": member.tenant_id, "account": "ann"}
    assert sorted(found, key=str) == sorted(
        [
            {**mine, "address": "192.0.2.7", "count": 3},
            {**mine, "address": "192.0.2.8", "count": 1},
            {"tenant": None, "address": "192.0.2.7", "account": "", "count": 1},
        ],
        key=str,
    )


def test_a_password_typed_as_a_name_is_not_kept(member: Membership, monkeypatch):
    for name in (PASSWORD, "a\0b", "\ud800", ""):
        sign_ins.note_failure({"username": name})
    failures(monkeypatch)

    rows = AuditEvent.objects.filter(action="sign_in.failed").values()
    assert PASSWORD not in str(list(rows))


def test_a_flood_from_everywhere_grows_the_log_by_a_cap(db: None, monkeypatch):
    at = clock.timestamp()
    monkeypatch.setattr(clock, "timestamp", lambda: at)  # all in one minute
    for number in range(500):
        sign_ins.count_failure(f"2001:db8::{number:x}", 0)
    assert FailedSignIns.objects.count() == sign_ins.MOST_ROWS

    found = failures(monkeypatch)

    assert len(found) == sign_ins.MOST_ROWS
    assert sum(each["count"] for each in found) == 500
