"""Roles of a tenant's own, auditors, and people of a suspended tenant do in the console what the documented
table says, and nothing else. What each built-in role does is in test_matrix.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from django.contrib import admin as django_admin
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from tenants.access.access import OPERATOR
from tenants.keys import keys
from tenants.members import members, roles
from tenants.models import ApiKey, Tenant
from tests.console import world as worlds
from tests.console.pages import do, key_form, text, url
from tests.console.rights_table import RIGHTS, documented
from tests.console.test_matrix import possible_with
from tests.console.world import CANARY, World
from tests.plugins.tiers import sampled

pytestmark = pytest.mark.django_db


def surplus(client: Client, rows: list[Model], rights: Mapping[str, set[str]]) -> list[str]:
    """Return each right that somebody has over a row and should not have, or the other way round."""
    found = []
    for row in rows:
        page = django_admin.site._registry[type(row)]
        has = rights[page.area] & possible_with(type(row))  # type: ignore[attr-defined]  # a TenantModelAdmin
        answers = {
            "view": client.get(url(row, "change")),
            "add": client.get(url(type(row), "add")),
            "change": client.post(url(row, "change"), {}),
            "delete": client.get(url(_over(row), "delete")),
        }
        listed = client.get(url(type(row), "changelist")).status_code
        saves = 'name="_save"' in text(answers["view"])
        statuses = {right: answer.status_code for right, answer in answers.items()}
        if statuses["change"] == 302:  # saved as it was
            statuses["change"] = 200
        expected = {right: 200 if right in has else 403 for right in RIGHTS}
        if (statuses, listed, saves) != (expected, expected["view"], "change" in has):
            found.append(f"{row!r}: {statuses} {listed} {saves}")
    return found


def _over(row: Model) -> Model:
    """Return the row as one that can be deleted: of keys, only revoked ones can."""
    if isinstance(row, ApiKey):
        keys.revoke(row)
    return row


def test_a_tenants_own_role_gives_what_it_names_and_sight_of_the_tenant(world: World):
    names = ["keys.view", "keys.change", "usage.view", "responses.view", "responses.delete"]
    own = roles.create_role(OPERATOR, world.ours.tenant, "support desk", names)
    user = User.objects.create_user("desk")
    members.add_member(OPERATOR, world.ours.tenant, user, own)
    rights: dict[str, set[str]] = {area: set() for area in documented()["owner"]} | {
        "tenant": {"view"},
        "keys": {"view", "change"},
        "usage": {"view"},
        "responses": {"view", "delete"},
    }

    shown = sampled(world.ours.rows(), default=8, ci=16)
    assert surplus(worlds.signed_in(user), shown, rights) == []


def test_an_auditor_reads_everything_but_what_was_said_and_changes_nothing(world: World):
    client = worlds.auditor()

    assert "plat.example" in text(client.get(url(world.platform.provider, "change")))
    assert ">Cost" in text(client.get(url(world.theirs.usage, "change")))
    for row in User.objects.all()[:2]:
        page = text(client.get(url(row, "change")))
        assert row.username in page
        assert row.password not in page
        assert client.post(url(row, "change"), {"is_superuser": "on"}).status_code == 403
        assert client.get(url(row, "delete")).status_code == 403
    password = reverse("admin:auth_user_password_change", args=(User.objects.all()[0].pk,))
    assert client.post(password, {"password1": "x", "password2": "x"}).status_code == 403
    for model, model_page in django_admin.site._registry.items():
        answer = client.get(url(model, "changelist"))
        assert "zzcanary answer" not in text(answer)
        names = model_page.get_actions(answer.wsgi_request)
        assert set(names) == set(), (model, names)


def test_an_auditor_who_works_in_a_tenant_reads_only_its_prompts(world: World):
    client = worlds.auditor()
    user = User.objects.get(username="auditor")
    members.add_member(OPERATOR, world.ours.tenant, user, "developer")

    listed = client.get(url(type(world.ours.response), "changelist"))
    assert [row.pk for row in listed.context["cl"].result_list] == [world.ours.response.pk]
    assert client.get(url(world.theirs.response, "change")).status_code == 404
    assert CANARY in text(client.get(url(ApiKey, "changelist"))).lower()


def test_a_list_shows_rows_of_those_tenants_alone_where_they_may_be_viewed(world: World):
    """Somebody may read prompts in one of their tenants, and only the bills in another."""
    client = worlds.staff("billing", world.theirs.tenant)
    user = User.objects.get(username="billing-staff")
    members.add_member(OPERATOR, world.ours.tenant, user, "developer")

    listed = client.get(url(type(world.ours.response), "changelist"))
    assert [row.pk for row in listed.context["cl"].result_list] == [world.ours.response.pk]
    assert client.get(url(world.theirs.response, "change")).status_code == 404


def test_people_of_a_suspended_tenant_read_and_change_nothing(world: World):
    client = worlds.staff("owner", world.ours.tenant)
    Tenant.objects.filter(pk=world.ours.tenant.pk).update(status=Tenant.Status.SUSPENDED)
    reads = {area: rights & {"view"} for area, rights in documented()["owner"].items()}

    ours = world.ours
    changeable: list[Model] = [ours.tenant, ours.member, ours.key, ours.credential, ours.response]
    assert surplus(client, changeable, reads) == []
    assert do(client, world.ours.key, "rotate").status_code == 403
    assert world.ours.key.secrets.count() == 1
    assert client.post(url(ApiKey, "add"), key_form()).status_code == 403
