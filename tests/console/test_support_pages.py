"""An operator acts as a tenant: visibly, with a reason, with that tenant's rights, and not for long."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import Model
from django.db.models.signals import post_save
from django.test import Client
from django.urls import reverse

from gateway_project.lib import clock
from gateway_project.lib.actor import Actor, current
from routing.models import Provider
from tenants.models import ApiKey, SupportSession, Tenant
from tests.console import world as worlds
from tests.console.pages import key_form, provider_form, text, url
from tests.console.rights_table import documented
from tests.console.test_rights import surplus
from tests.console.world import CANARY, World

pytestmark = pytest.mark.django_db

END = "You act as"


def start(client: Client, tenant: Tenant, **fields: Any) -> Any:
    form = {"tenant": tenant.pk, "role": "viewer", "reason": "Ticket 7", **fields}
    return client.post(url(SupportSession, "add"), form)


def test_an_operator_acts_as_a_tenant_with_its_rights_and_no_others(
    world: World, operator: Client, settings: Any
):
    settings.SUPPORT_MINUTES = 15
    page = text(operator.get(url(world.ours.tenant, "change")))
    assert f"supportsession/add/?tenant={world.ours.tenant.slug}" in page
    assert start(operator, world.ours.tenant).status_code == 302

    session = SupportSession.objects.get(reason="Ticket 7")
    assert (session.operator_name, session.role) == ("operator", "viewer")
    assert session.ends_at - session.started_at == timedelta(minutes=15)
    ours = world.ours
    rows: list[Model] = [ours.tenant, ours.member, ours.key, ours.invoice, ours.response]
    assert surplus(operator, rows, documented()["viewer"]) == []
    for address in (
        "/console/",
        url(world.ours.key, "change"),
        f"{url(Provider, 'changelist')}?_popup=1",
    ):
        shown = text(operator.get(address))
        assert shown.count(END) == 1, address
        assert "Ticket 7" in shown
        assert CANARY not in shown.lower()
    assert operator.get(url(world.theirs.key, "change")).status_code == 404
    assert operator.get(url(User, "changelist")).status_code == 403
    assert operator.get(url(SupportSession, "add")).status_code == 403
    assert "Act as this tenant" not in text(operator.get(url(world.ours.tenant, "change")))

    assert END not in text(operator.post(reverse("admin:end_support"), follow=True))
    session.refresh_from_db()
    assert session.ends_at <= clock.now()
    assert operator.get(url(world.theirs.key, "change")).status_code == 200


def test_what_an_operator_changes_as_a_tenant_carries_the_reason(world: World, operator: Client):
    start(operator, world.ours.tenant, role="developer")
    seen: list[Actor] = []

    def note(**_: object) -> None:
        seen.append(current())

    post_save.connect(note, sender=ApiKey)
    try:
        assert operator.post(url(ApiKey, "add"), key_form()).status_code == 200
    finally:
        post_save.disconnect(note, sender=ApiKey)
    assert ApiKey.objects.get(name="new key").tenant == world.ours.tenant
    assert {(each.kind, each.name, each.reason) for each in seen} == {
        ("person", "operator", "Ticket 7")
    }
    assert operator.post(url(Provider, "add"), provider_form()).status_code == 403


def test_after_its_time_nothing_is_sent_with_an_operators_rights(world: World, operator: Client):
    start(operator, world.ours.tenant, role="owner")
    SupportSession.objects.filter(reason="Ticket 7").update(ends_at=clock.now())

    form = provider_form(tenant="")
    refused = operator.post(url(Provider, "add"), form, follow=True)
    assert "Your time as the tenant is over" in text(refused)
    assert not Provider.objects.filter(name="new-provider").exists()
    assert END not in text(refused)
    assert operator.post(url(Provider, "add"), form).status_code == 302  # knowingly


@pytest.mark.parametrize("ends", ["by the button", "by itself"])
def test_a_form_left_open_is_not_sent_with_other_rights(ends: str, world: World):
    user = User.objects.create_superuser("operator")
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)

    def token_of(address: str) -> str:
        return re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', text(client.get(address)))[
            -1
        ]

    begins = token_of(url(SupportSession, "add"))
    start(client, world.ours.tenant, role="owner", csrfmiddlewaretoken=begins)
    page = url(world.ours.provider, "change")
    left_open = token_of(page)
    if ends == "by the button":
        client.post(reverse("admin:end_support"), {"csrfmiddlewaretoken": left_open})
    else:
        SupportSession.objects.filter(reason="Ticket 7").update(ends_at=clock.now())
        told = client.get("/console/", follow=True)  # in another window
        assert "Your time as the tenant is over" in text(told)

    form = provider_form(name="changed", allow_private_network="on")
    assert client.post(page, form | {"csrfmiddlewaretoken": left_open}).status_code == 403
    assert not Provider.objects.filter(name="changed").exists()
    assert client.post(page, form | {"csrfmiddlewaretoken": token_of(page)}).status_code == 302


def test_signing_out_ends_it(world: World, operator: Client):
    start(operator, world.ours.tenant)
    operator.post(reverse("admin:logout"))
    assert SupportSession.objects.get(reason="Ticket 7").ends_at <= clock.now()


def test_nobody_else_acts_as_a_tenant(world: World, operator: Client):
    start(operator, world.ours.tenant, role="owner")
    session = SupportSession.objects.get(reason="Ticket 7")
    for client in (worlds.staff("owner", world.ours.tenant), worlds.auditor()):
        assert start(client, world.theirs.tenant).status_code == 403
        stolen = client.session
        stolen["support_session"] = session.pk
        stolen.save()
        assert END not in text(client.get("/console/"))
    other = worlds.signed_in(User.objects.create_superuser("other"))
    stolen = other.session
    stolen["support_session"] = session.pk
    stolen.save()
    assert END not in text(other.get("/console/"))
    User.objects.filter(username="operator").update(is_superuser=False)
    assert operator.get(url(world.ours.key, "change")).status_code == 302


def test_a_session_needs_a_reason_and_a_role_and_the_tenants_people_see_it(
    world: World, operator: Client
):
    for wrong in ({"reason": " "}, {"role": "operator"}, {"reason": "x" * 301}):
        assert start(operator, world.ours.tenant, **wrong).status_code == 200
    assert start(operator, world.ours.tenant).status_code == 302
    start(operator, world.ours.tenant)  # as the tenant, who may not
    assert SupportSession.objects.filter(reason="Ticket 7").count() == 1
    seen = text(worlds.staff("viewer", world.ours.tenant).get(url(SupportSession, "changelist")))
    assert "Ticket 7" in seen
    assert CANARY not in seen
