"""Members and roles: nobody deals in more rights than their own, and a tenant keeps an owner."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError, connection, transaction

from tenants.access.access import NOBODY, OPERATOR, Access, access_of
from tenants.access.rights import Area, permissions_of
from tenants.members import members, roles
from tenants.models import CustomRole, LastOwner, Membership, Tenant
from tenants.models import members as model
from tests.commands.running import answer, refusal

pytestmark = pytest.mark.django_db


def tenant(name: str = "acme") -> Tenant:
    return Tenant.objects.create(slug=name, name=name)


def member(of: Tenant, name: str, role: roles.Role) -> Membership:
    user, _ = User.objects.get_or_create(username=name)
    return members.add_member(OPERATOR, of, user, role)


def who_is(one: Membership) -> Access:
    return access_of(User.objects.get(pk=one.user_id))


def test_what_somebody_may_do_follows_from_memberships_alone():
    acme, other = tenant(), tenant("other")
    desk = roles.create_role(OPERATOR, acme, "desk", ["keys.view", "keys.change"])
    user = User.objects.create_user("ada")
    assert access_of(user) == NOBODY
    user.is_staff = True
    assert not access_of(user)
    member(acme, "ada", desk)
    member(other, "ada", "viewer")
    other.shows_upstreams = False
    other.save()
    who = access_of(user)
    assert who.may("change", Area.KEYS, acme.pk)
    assert not who.may("change", Area.KEYS, other.pk)
    assert not who.may("view", Area.USAGE, acme.pk)
    assert who.aliases_only == {other.pk}
    user.is_active = False
    assert not access_of(user)


def test_nobody_gives_changes_or_takes_away_what_they_do_not_hold():
    acme = tenant()
    names = ["members.view", "members.add", "members.change", "members.delete", "keys.view"]
    desk = roles.create_role(OPERATOR, acme, "desk", names)
    keeper = roles.create_role(OPERATOR, acme, "keeper", ["keys.view"])
    who = who_is(member(acme, "ada", desk))
    viewer, kept = member(acme, "vera", "viewer"), member(acme, "kim", keeper)
    stranger = User.objects.create_user("new")

    for act in (
        lambda: members.add_member(who, acme, stranger, "viewer"),
        lambda: members.set_role(who, viewer, keeper),  # would take away what viewers have
        lambda: members.set_role(who, kept, "developer"),
        lambda: members.remove_member(who, viewer),
        lambda: members.set_role(who, kept, desk, force=True),
        lambda: roles.create_role(who, acme, "own", ["keys.view"]),
        lambda: members.add_member(who, tenant("elsewhere"), stranger, keeper),
    ):
        with pytest.raises(PermissionDenied):
            act()
    assert members.set_role(who, kept, desk).custom_role == desk
    assert members.add_member(who, acme, stranger, keeper).custom_role == keeper
    members.remove_member(who, kept)


def test_a_role_of_ones_own_never_exceeds_its_maker_and_is_changed_by_nobody_with_less():
    acme = tenant()
    maker = who_is(
        member(
            acme,
            "mia",
            roles.create_role(
                OPERATOR,
                acme,
                "maker",
                ["roles.view", "roles.add", "roles.change", "roles.delete", "keys.view"],
            ),
        )
    )
    own = roles.create_role(maker, acme, "readers", ["keys.view"])
    great = roles.create_role(OPERATOR, acme, "great", ["keys.view", "keys.change"])
    for act in (
        lambda: roles.create_role(maker, acme, "more", ["keys.view", "keys.change"]),
        lambda: roles.change_role(maker, own, permissions=["keys.view", "keys.delete"]),
        lambda: roles.change_role(maker, great, permissions=["keys.view"]),
        lambda: roles.delete_role(maker, great),
    ):
        with pytest.raises(PermissionDenied):
            act()
    assert roles.change_role(maker, own, name="Readers").name == "Readers"
    roles.delete_role(maker, own)
    assert set(CustomRole.objects.values_list("name", flat=True)) == {"maker", "great"}


@pytest.mark.parametrize(
    ("name", "permissions", "error"),
    [
        ("Owner", ["keys.view"], "name"),
        ("", ["keys.view"], "name"),
        ("taken", ["keys.view"], "__all__"),
        ("x", ["keys.change"], "needs 'keys.view'"),
        ("x", ["tenant.delete", "tenant.view"], "cannot give 'tenant.delete'"),
        ("x", ["keys.fly"], "cannot give 'keys.fly'"),
        ("x", [], "permissions"),
    ],
)
def test_a_role_is_a_named_subset_of_what_tenants_may_have(
    name: str, permissions: list[str], error: str
):
    acme = tenant()
    roles.create_role(OPERATOR, acme, "taken", ["keys.view"])
    with pytest.raises(ValidationError) as refused:
        roles.create_role(OPERATOR, acme, name, permissions)
    assert error in str(refused.value.message_dict)
    roles.create_role(OPERATOR, tenant("other"), "taken", ["keys.view"])


def test_a_role_in_use_is_not_deleted_and_the_refusal_names_who_has_it():
    acme = tenant()
    desk = roles.create_role(OPERATOR, acme, "desk", ["keys.view"])
    one = member(acme, "ada", desk)
    with pytest.raises(ValidationError, match="'desk' is in use by ada"):
        roles.delete_role(OPERATOR, desk)
    members.set_role(OPERATOR, one, "viewer")
    roles.delete_role(OPERATOR, desk)
    assert not CustomRole.objects.exists()


@pytest.mark.persistence
def test_the_database_takes_no_role_of_another_tenant_and_never_two_or_none():
    acme, other = tenant(), tenant("other")
    foreign = roles.create_role(OPERATOR, other, "desk", ["keys.view"])
    one = member(acme, "ada", "viewer")
    rows = Membership.objects.filter(pk=one.pk)
    with pytest.raises(ValidationError, match="same tenant"):
        members.set_role(OPERATOR, one, foreign)
    for change in (
        {"role": "", "custom_role": foreign},
        {"custom_role": foreign},
        {"role": ""},
        {"role": "god"},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            rows.update(**change)
    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.create(
            tenant=acme, user=User.objects.create_user("eve"), role="", custom_role=foreign
        )
    with pytest.raises(IntegrityError), transaction.atomic():
        CustomRole.objects.filter(pk=foreign.pk).update(tenant=acme)


# The last owner


@pytest.mark.persistence
def test_the_last_owner_stays_however_somebody_tries():
    acme = tenant()
    ada, bob = member(acme, "ada", "owner"), member(acme, "bob", "owner")
    User.objects.filter(username="bob").update(is_active=False)  # owns, but cannot sign in
    ada_user, who = User.objects.get(username="ada"), who_is(ada)

    def demoted_by_hand() -> None:
        ada.role = "viewer"
        ada.save()

    for act in (
        lambda: members.remove_member(who, ada),
        lambda: members.set_role(OPERATOR, ada, "admin"),
        ada_user.delete,
        lambda: User.objects.filter(username__in=["ada", "bob"]).delete(),
        lambda: Membership.objects.filter(tenant=acme).delete(),
        demoted_by_hand,
    ):
        with pytest.raises(LastOwner), transaction.atomic():
            act()
        assert set(Membership.objects.values_list("role", flat=True)) == {"owner"}
        assert Membership.objects.count() == 2
    members.remove_member(OPERATOR, bob)  # the other one remains
    with pytest.raises(PermissionDenied):
        members.remove_member(who, Membership.objects.get(pk=ada.pk), force=True)
    members.set_role(OPERATOR, Membership.objects.get(pk=ada.pk), "viewer", force=True)
    assert not Membership.objects.filter(role="owner").exists()
    members.set_role(OPERATOR, Membership.objects.get(pk=ada.pk), "owner")


@pytest.mark.persistence
def test_a_tenant_goes_with_its_owner_and_the_roles_of_its_own():
    acme = tenant()
    member(acme, "ada", "owner")
    member(acme, "bob", roles.create_role(OPERATOR, acme, "desk", ["keys.view"]))
    acme.delete()
    assert (Membership.objects.count(), CustomRole.objects.count()) == (0, 0)
    member(tenant("next"), "ada", "owner")
    Tenant.objects.all().delete()
    assert not Membership.objects.exists()


def at_once(*acts: Callable[[], Any]) -> list[BaseException | None]:
    """Run each in a thread; return what each raised."""
    raised: list[BaseException | None] = [None] * len(acts)

    def run(place: int, act: Callable[[], Any]) -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001  # told in the test's own thread
            raised[place] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=each) for each in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


@pytest.mark.persistence
@pytest.mark.django_db(transaction=True)
def test_of_two_owners_who_remove_each_other_at_once_one_stays(monkeypatch: pytest.MonkeyPatch):
    """On PostgreSQL both have made their change, unseen by the other, before either is checked. SQLite has
    one writer at a time.
    """
    check = model.keep_an_owner
    both = threading.Barrier(2 if connection.vendor == "postgresql" else 1)

    def checked(tenant_id: int) -> None:
        both.wait()
        check(tenant_id)

    monkeypatch.setattr(model, "keep_an_owner", checked)
    ways: tuple[Callable[[Access, Membership], Any], ...] = (
        members.remove_member,
        lambda who, one: members.set_role(who, one, "viewer"),
        lambda _who, one: one.user.delete(),
    )
    for number, way in enumerate(ways):
        acme = tenant(f"acme-{number}")
        ada, bob = member(acme, f"ada-{number}", "owner"), member(acme, f"bob-{number}", "owner")
        by_ada, by_bob = who_is(ada), who_is(bob)
        raised = at_once(lambda: way(by_ada, bob), lambda: way(by_bob, ada))  # noqa: B023  # now
        assert sorted(type(each).__name__ for each in raised) == ["LastOwner", "NoneType"], raised
        assert Membership.objects.filter(tenant=acme, role="owner").count() == 1


# The commands


def test_operators_add_members_and_change_their_roles_by_command():
    acme = tenant()
    roles.create_role(OPERATOR, acme, "desk", ["keys.view"])
    made = answer("create_operator", "olga", "--email", "olga@example.com")
    assert made["role"] == "operator"
    assert User.objects.get(username="olga").check_password(made["password"])
    assert access_of(User.objects.get(username="olga")) == OPERATOR
    User.objects.create_user("ada")

    assert answer("add_member", "ada", "--tenant", "acme", "--role", "owner") == {
        "username": "ada",
        "tenant": "acme",
        "role": "owner",
    }
    assert "already exists" in refusal("add_member", "ada", "--tenant", "acme", "--role", "viewer")
    assert "no account 'eve'" in refusal(
        "add_member", "eve", "--tenant", "acme", "--role", "viewer"
    )
    assert "no role 'king'" in refusal("set_role", "ada", "--tenant", "acme", "--role", "king")
    assert "last owner" in refusal("set_role", "ada", "--tenant", "acme", "--role", "desk")
    changed = answer("set_role", "ada", "--tenant", "acme", "--role", "desk", "--force")
    assert (changed["role"], changed["before"]) == ("desk", "owner")
    assert access_of(User.objects.get(username="ada")).within(acme.pk) == permissions_of(
        "", ["keys.view"]
    )


def test_an_auditor_is_made_by_command_of_an_account_that_exists_or_a_new_one():
    User.objects.create_user("ada", password="as it was")
    assert answer("create_operator", "ada", "--auditor")["password"] is None
    who = access_of(User.objects.get(username="ada"))
    assert who.sees_all_tenants
    assert not who.is_operator
    assert User.objects.get(username="ada").check_password("as it was")
    assert answer("create_operator", "ada", "--new-password")["password"]
    assert access_of(User.objects.get(username="ada")) == OPERATOR
    assert "is an operator" in refusal("create_operator", "ada", "--auditor")
    assert refusal("create_operator", "no name").startswith("username: ")
