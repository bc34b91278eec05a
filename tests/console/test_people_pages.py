"""Sign in by a membership, invite, be invited, and keep an owner, by the console's pages."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core import mail
from django.test import Client
from django.urls import reverse

from gateway_project.lib import clock
from gateway_project.lib.secret import Secret
from routing.models import Provider, Target
from tenants.access.access import OPERATOR, access_of
from tenants.access.rights import Area
from tenants.admin import role_table
from tenants.billing import rollups
from tenants.billing.instants import month_of
from tenants.keys import keys as api_keys
from tenants.members import invitations, members, roles
from tenants.models import ApiKey, CustomRole, Invitation, Membership, SupportSession, Tenant
from tenants.sign_in import origin, sessions
from tenants.sign_in.session_store import BEGAN
from tests.console import world as worlds
from tests.console.pages import act, action_address, assert_clean, do, provider_form, text, url
from tests.console.world import CANARY, World
from tests.plugins.tiers import sampled
from tests.support import usage_rows

pytestmark = pytest.mark.django_db

LINK = re.compile(r"http://testserver(/console/invitations/tg_inv_\w{32}/)")
PASSWORD = "a long enough password"


def link_in(answer: Any) -> str:
    found = LINK.findall(text(answer))
    assert len(found) == 1
    return str(found[0])


def invite(client: Client, **fields: Any) -> Any:
    return client.post(url(Invitation, "add"), {"role": "developer", "days": 7, **fields})


def sign_up(client: Client, link: str, name: str = "newcomer", password: str = PASSWORD) -> Any:
    return client.post(link, {"username": name, "password": password, "again": password})


def test_a_membership_is_all_it_takes_to_sign_in(world: World):
    user = User.objects.create_user("ada", password=PASSWORD)
    client = Client()

    form = {"login": "ada", "password": PASSWORD}
    assert client.post(reverse("account_login"), form).status_code == 302
    assert client.get("/console/").status_code == 302  # may do nothing yet
    assert client.get("/console/", follow=True).request["PATH_INFO"] == reverse("no_access")
    members.add_member(OPERATOR, world.ours.tenant, user, "viewer")
    assert client.get(url(world.ours.key, "change")).status_code == 200
    Membership.objects.filter(user=user).delete()
    assert client.get(url(world.ours.key, "change")).status_code == 302


def test_somebody_without_an_account_joins_by_an_invitation(world: World, settings: Any):
    settings.SMTP_URL = Secret("smtp://mail.example.com")
    owner = worlds.staff("owner", world.ours.tenant)
    answer = invite(owner, email="new@example.com")
    link, browser = link_in(answer), Client()
    assert [(sent.to, link in sent.body) for sent in mail.outbox] == [(["new@example.com"], True)]
    assert "tg_inv_" not in text(owner.get(url(Invitation, "changelist")))

    page = browser.get(link)
    assert page.status_code == 200
    assert "ours tenant" in text(page)
    assert "developer, by owner-staff" in text(page)
    assert "differ" in text(browser.post(link, {"username": "a", "password": "x", "again": "y"}))
    assert "too short" in text(sign_up(browser, link, password="short"))
    assert "already exists" in text(sign_up(browser, link, name="owner-staff"))
    assert sign_up(browser, link).status_code == 302

    # As after any sign-in: with a fixed end, and just confirmed.
    assert {sessions.PROVEN, BEGAN} <= set(browser.session.keys())
    assert browser.get(url(world.ours.key, "change")).status_code == 200
    assert browser.get(url(world.theirs.key, "change")).status_code == 404
    user = User.objects.get(username="newcomer")
    assert (user.email, user.is_staff, user.is_superuser) == ("new@example.com", False, False)
    assert Membership.objects.get(user=user).role == "developer"
    used, unknown = Client().get(link), Client().get(link.replace(link[-4:-1], "xyz"))
    assert (used.status_code, unknown.status_code) == (404, 404)
    for answer in (used, unknown, sign_up(Client(), link, name="second")):
        assert "This invitation is not valid" in text(answer)
        assert "ours" not in text(answer)
    assert not User.objects.filter(username="second").exists()


def test_somebody_with_an_account_joins_a_second_tenant(world: World):
    guest = worlds.staff("viewer", world.theirs.tenant)
    link = link_in(invite(worlds.staff("owner", world.ours.tenant)))

    assert "Join as viewer-staff" in text(guest.get(link))
    assert guest.get(url(world.ours.key, "change")).status_code == 404
    assert guest.post(link).status_code == 302
    assert guest.get(url(world.ours.key, "change")).status_code == 200
    held = access_of(User.objects.get(username="viewer-staff"))
    assert held.tenants == {world.ours.tenant.pk, world.theirs.tenant.pk}
    again = link_in(invite(worlds.signed_in(User.objects.get(username="owner-staff"))))
    assert "member of ours tenant already" in text(guest.post(again))


def test_a_session_for_one_tenant_alone_accepts_no_invitation(world: World, operator: Client):
    guest = worlds.staff("viewer", world.theirs.tenant)
    link = link_in(invite(worlds.staff("owner", world.ours.tenant)))
    bound = guest.session
    origin.mark(bound, world.theirs.identity, User.objects.get(username="viewer-staff").pk)
    bound.save()
    acting = {"tenant": world.theirs.tenant.pk, "role": "owner", "reason": "Ticket 7"}
    assert operator.post(url(SupportSession, "add"), acting).status_code == 302

    for client in (guest, operator):
        answer = client.post(link)
        assert answer.status_code == 403
        assert "for one tenant only" in text(answer)
    assert Client().get(link).status_code == 200  # it is not used up
    assert operator.post(reverse("admin:end_support")).status_code == 302
    assert operator.post(link).status_code == 302


def test_invitations_are_sent_again_and_revoked_by_who_could_make_them(world: World):
    owner, viewer = (worlds.staff(role, world.ours.tenant) for role in ("owner", "viewer"))
    first = link_in(invite(owner, email="new@example.com"))
    row = Invitation.objects.get(email="new@example.com")
    Invitation.objects.filter(pk=row.pk).update(expires_at=clock.now() - timedelta(days=1))
    assert Client().get(first).status_code == 404

    for action in ("resend", "revoke"):
        act(viewer, Invitation, action, row, post="yes")
        assert_clean(act(owner, Invitation, action, world.theirs.invitation, post="yes"))
    assert {each.state for each in Invitation.objects.all()} == {"open", "expired"}
    assert "new link" in text(act(owner, Invitation, "resend", row))
    second = link_in(act(owner, Invitation, "resend", row, post="yes"))
    assert [Client().get(link).status_code for link in (first, second)] == [404, 200]
    act(owner, Invitation, "revoke", row)
    assert Client().get(second).status_code == 404
    again = act(owner, Invitation, "resend", row, post="yes")
    assert again.status_code == 302
    assert "is revoked" in text(owner.get(again["Location"]))


def test_nobody_invites_beyond_their_rights_or_tenant(world: World):
    admin = worlds.staff("admin", world.ours.tenant)
    own, theirs = world.ours.role.pk, world.theirs.role.pk

    assert "Select a valid choice" in text(invite(admin, role="owner"))
    foreign = invite(admin, role="", custom_role=theirs)
    assert "Select a valid choice" in text(foreign)
    assert_clean(foreign)
    assert "Choose one role" in text(invite(admin, custom_role=own))
    assert "Choose one role" in text(invite(admin, role=""))
    assert invite(admin, tenant=world.theirs.tenant.pk, email="here@example.com").status_code == 200
    assert Invitation.objects.get(email="here@example.com").tenant == world.ours.tenant
    assert invite(worlds.staff("developer", world.ours.tenant)).status_code == 403


def test_roles_of_ones_own_are_made_given_and_kept_while_in_use(world: World):
    owner = worlds.staff("owner", world.ours.tenant)
    form = {"name": "desk", "permissions": ["keys.view", "keys.change"]}

    assert owner.post(url(CustomRole, "add"), form).status_code == 302
    assert "This tenant has a role" in text(owner.post(url(CustomRole, "add"), form))
    too_much = form | {"name": "more", "permissions": ["prices.view", "prices.change"]}
    assert "Select a valid choice" in text(owner.post(url(CustomRole, "add"), too_much))
    desk = CustomRole.objects.get(name="desk")
    assert desk.tenant == world.ours.tenant
    given = {"role": "", "custom_role": desk.pk}
    assert owner.post(url(world.ours.member, "change"), given).status_code == 302
    assert Membership.objects.get(pk=world.ours.member.pk).custom_role == desk
    theirs = {"role": "", "custom_role": world.theirs.role.pk}
    assert_clean(owner.post(url(world.ours.member, "change"), theirs))
    deleted = owner.post(url(desk, "delete"), {"post": "yes"}, follow=True)
    assert "ours-member" in text(deleted)
    offered = owner.post(url(world.ours.role, "delete"), {"post": "yes"}, follow=True)
    assert "in use by 1 open invitation" in text(offered)
    assert CustomRole.objects.filter(tenant=world.ours.tenant).count() == 2
    invitations.revoke(OPERATOR, world.ours.invitation)
    owner.post(url(world.ours.role, "delete"), {"post": "yes"})
    assert list(CustomRole.objects.filter(tenant=world.ours.tenant)) == [desk]


def test_a_role_is_not_given_more_than_its_editor_has(world: World):
    names = ["roles.view", "roles.change", "keys.view"]
    editor = roles.create_role(OPERATOR, world.ours.tenant, "editor", names)
    user = User.objects.create_user("ed")
    members.add_member(OPERATOR, world.ours.tenant, user, editor)
    client = worlds.signed_in(user)

    page = url(editor, "change")
    assert "keys.change" not in text(client.get(page))
    posted = {"name": "editor", "permissions": [*names, "keys.change"]}
    assert "Select a valid choice" in text(client.post(page, posted))
    greater = roles.create_role(OPERATOR, world.ours.tenant, "great", ["keys.view", "keys.change"])
    posted = {"name": "great", "permissions": ["keys.view"]}
    assert client.post(url(greater, "change"), posted).status_code == 403


def test_no_page_takes_a_tenants_last_owner(world: World, operator: Client):
    owner = worlds.staff("owner", world.ours.tenant)
    user = User.objects.get(username="owner-staff")
    own = Membership.objects.get(user=user)

    answers = [
        owner.post(url(own, "change"), {"role": "viewer"}, follow=True),
        owner.post(url(own, "delete"), {"post": "yes"}, follow=True),
        operator.post(url(user, "delete"), {"post": "yes"}, follow=True),
        operator.get(act(operator, User, "delete_selected", user, post="yes")["Location"]),
        operator.get(act(operator, Membership, "delete_selected", own, post="yes")["Location"]),
    ]

    for answer in answers:
        assert answer.status_code == 200
        assert "The last owner of a tenant stays" in text(answer)
    own.refresh_from_db()
    assert own.role == "owner"
    members.add_member(OPERATOR, world.ours.tenant, User.objects.create_user("b"), "owner")
    assert operator.post(url(user, "delete"), {"post": "yes"}).status_code == 302
    assert not User.objects.filter(pk=user.pk).exists()


# Several tenants


def test_who_works_in_several_tenants_looks_at_one_or_all(world: World):
    client = worlds.staff("viewer", world.ours.tenant, world.theirs.tenant)
    keys = url(ApiKey, "changelist")

    def listed(query: str = "") -> set[str]:
        answer = client.get(f"{keys}{query}")
        return {key.name for key in answer.context["cl"].result_list}

    assert listed() == {"ours key", f"{CANARY} key"}
    assert listed("?tenant=ours") == listed("?tenant=ours&q=key") == {"ours key"}
    # No more than a filter: rows of the other tenant open as before.
    assert client.get(f"{url(world.theirs.key, 'change')}?tenant=ours").status_code == 200
    assert "All tenants" in text(client.get(keys))
    Membership.objects.filter(tenant=world.ours.tenant, user__username="viewer-staff").delete()
    assert listed() == {f"{CANARY} key"}
    assert client.get(f"{keys}?tenant=ours").status_code == 404
    assert "All tenants" not in text(client.get(keys))


def test_choosing_a_tenant_gives_no_right_in_it(world: World, admin: Client, operator: Client):
    for slug in (CANARY, "nothing", "x" * 250):
        for page in (url(ApiKey, "changelist"), url(ApiKey, "add"), url(world.ours.key, "change")):
            assert admin.get(f"{page}?tenant={slug}").status_code == 404
    for slug in ("%00", "x" * 500):  # which no slug can be, and which is left out
        listed = admin.get(f"{url(ApiKey, 'changelist')}?tenant={slug}")
        assert [key.name for key in listed.context["cl"].result_list] == ["ours key"]
    listed = operator.get(f"{url(ApiKey, 'changelist')}?tenant=ours")
    assert [key.name for key in listed.context["cl"].result_list] == ["ours key"]
    chosen = operator.get(f"{url(ApiKey, 'add')}?tenant=ours").context["form"]
    assert chosen.get_initial_for_field(chosen.fields["tenant"], "tenant") == world.ours.tenant.pk


def test_every_link_of_a_page_keeps_the_tenant_that_is_looked_at(world: World, operator: Client):
    listed = text(operator.get(f"{url(ApiKey, 'changelist')}?tenant=ours&period=7d&o=1"))
    revoked, _ = api_keys.create(world.ours.tenant, "over")
    api_keys.revoke(revoked)  # only then it has the button that deletes
    opened = text(operator.get(f"{url(revoked, 'change')}?tenant=ours"))

    assert f"{url(world.ours.key, 'change')}?_changelist_filters=tenant%3Dours" in listed
    assert "/add/?" in listed
    assert f"{url(Provider, 'changelist')}?tenant=ours&amp;period=7d" in listed
    for page in ("history", "delete"):
        link = opened.partition(f'href="{url(revoked, page)}?')[2].partition('"')[0]
        assert "tenant=ours" in link, page
    saved = operator.post(f"{url(Provider, 'add')}?tenant=ours", provider_form())
    assert "tenant=ours" in saved["Location"]


# What answered


def test_a_tenant_may_be_shown_aliases_only(world: World):
    tenant = world.ours.tenant
    # As tenants' aliases could lead long ago.
    Target.objects.create(alias=world.ours.alias, provider_model=world.platform.model, position=5)
    platform = world.platform
    usage = type(world.ours.usage).objects.filter(tenant=tenant)
    assert usage.exists()
    client = worlds.staff("owner", tenant)
    told = [{"added": {"name": "target", "object": "ours-alias → plat-provider/plat-model"}}]
    LogEntry.objects.create(
        user=User.objects.create_superuser("somebody"),
        content_type=ContentType.objects.get_for_model(world.ours.alias),
        object_id=str(world.ours.alias.pk),
        action_flag=CHANGE,
        change_message=json.dumps(told),
    )
    history = url(world.ours.alias, "history")
    assert "plat-model" in text(client.get(history))
    assert "plat-model" in text(client.get(url(world.ours.alias, "change")))
    assert "plat-model" in text(client.get(url(world.ours.alias, "delete")))
    provider = url(platform.provider, "change")
    assert client.get(provider).status_code == 200
    assert "ours-provider" in text(client.get(url(world.ours.usage, "change")))

    Tenant.objects.filter(pk=tenant.pk).update(shows_upstreams=False)

    for row in (platform.provider, platform.model):
        assert client.get(url(row, "change")).status_code == 404
    rows = (*world.ours.rows(), *platform.rows())
    addresses = [url(row, page) for row in rows for page in ("change", "delete")]
    addresses += [url(row, "history") for row in world.ours.rows()]
    addresses += [
        url(type(row), page) for row in world.ours.rows() for page in ("changelist", "add")
    ]
    find = f"{reverse('admin:autocomplete')}?app_label=routing&term=plat&model_name="
    addresses += [
        f"{find}target&field_name=provider_model",
        f"{find}credential&field_name=provider",
    ]
    always = [url(type(platform.alias), "changelist")]
    for used in (world.ours.usage, world.ours.day, world.ours.hour):
        always += [url(used, "change"), url(type(used), "changelist")]
    asked = {*always, *sampled(addresses, default=25, ci=60)}
    answers = {address: text(client.get(address)) for address in asked}
    assert [a for a, shown in answers.items() if "plat-provider" in shown] == []
    assert [a for a, shown in answers.items() if "plat-model" in shown] == []
    assert "plat-alias" in answers[url(type(platform.alias), "changelist")]
    for used in (world.ours.usage, world.ours.day, world.ours.hour):
        assert "ours-provider" not in answers[url(used, "change")]
        assert "ours-provider" not in answers[url(type(used), "changelist")]
    for listed in (world.ours.response, world.ours.usage):
        names = client.get(url(type(listed), "changelist")).context["cl"].list_display
        assert not {"provider", "upstream_model"} & set(names)


def test_only_operators_say_whether_a_tenant_is_shown_what_answers(world: World, operator: Client):
    owner = worlds.staff("owner", world.ours.tenant)
    form = {
        "name": "ours tenant",
        "slug": "ours",
        "time_zone": "UTC",
        "status": "active",
        "retention_days": "30",
    }
    for client, shown in ((operator, False), (owner, False)):
        posted = form if client is operator else form | {"shows_upstreams": "on"}
        assert client.post(url(world.ours.tenant, "change"), posted).status_code == 302
        world.ours.tenant.refresh_from_db()
        assert world.ours.tenant.shows_upstreams is shown


def test_members_are_listed_with_their_last_sign_in_beside_what_roles_may_do(world: World):
    owner = worlds.staff("owner", world.ours.tenant)
    page = text(owner.get(url(Membership, "changelist")))
    assert "Invite somebody" in page
    assert "What each role may do" in page
    assert "owner-staff" in page
    assert "never" in page  # our member has an account, and has not come in yet
    for area in Area:
        assert str(role_table.AREAS[area]) in page
    viewer = worlds.staff("viewer", world.ours.tenant)
    assert "Invite somebody" not in text(viewer.get(url(Membership, "changelist")))


def test_an_invitation_is_sent_again_and_revoked_on_its_page(world: World):
    owner = worlds.staff("owner", world.ours.tenant)
    row = world.ours.invitation
    viewer = worlds.staff("viewer", world.ours.tenant)
    for action in ("send_again", "withdraw"):
        assert do(viewer, row, action).status_code == 403
        assert action_address(row, action) in text(owner.get(url(row, "change")))
    link = link_in(do(owner, row, "send_again"))
    assert Client().get(link).status_code == 200
    do(owner, row, "withdraw")
    row.refresh_from_db()
    assert row.state == "revoked"
    assert Client().get(link).status_code == 404
    assert action_address(row, "send_again") not in text(owner.get(url(row, "change")))
    assert owner.post(url(row, "delete"), {"post": "yes"}).status_code == 403


def test_operators_suspend_a_tenant_on_its_page_and_let_it_go_on(world: World, operator: Client):
    tenant = world.ours.tenant
    owner = worlds.staff("owner", tenant)
    assert do(owner, tenant, "suspend").status_code == 403
    assert action_address(tenant, "suspend") not in text(owner.get(url(tenant, "change")))
    assert "keys are refused" in text(operator.get(action_address(tenant, "suspend")))
    answer = operator.post(action_address(tenant, "suspend"), follow=True)
    assert "tenant is suspended: its keys are refused" in text(answer)
    assert action_address(tenant, "resume") in text(answer)
    assert "Suspended" in text(operator.get(url(Tenant, "changelist")))
    do(operator, tenant, "resume")
    tenant.refresh_from_db()
    assert tenant.status == Tenant.Status.ACTIVE


def test_tenants_are_listed_with_keys_members_and_what_this_month_was_charged(
    world: World, operator: Client, django_assert_max_num_queries
):
    for zone, nano in (("Asia/Kolkata", 2_340_000_000), ("Europe/Berlin", 3_450_000_000)):
        tenant = Tenant.objects.create(slug=zone[:4].lower(), name=zone, time_zone=zone)
        start, _ = month_of(clock.now(), zone)
        usage_rows.usage(tenant, start, charges={"input_fresh": nano})
        before = start - timedelta(minutes=1)
        usage_rows.usage(tenant, before, charges={"input_fresh": 10**12})
    rollups.recompute_dirty()

    with django_assert_max_num_queries(12):
        page = text(operator.get(url(Tenant, "changelist")))
    assert "$2.34" in page
    assert "$3.45" in page
    assert f"/console/tenants/apikey/?tenant={world.ours.tenant.slug}" in page
    assert_clean(worlds.staff("owner", world.ours.tenant).get(url(Tenant, "changelist")))
