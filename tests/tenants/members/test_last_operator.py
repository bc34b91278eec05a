"""An installation keeps an operator who can sign in, whichever way accounts are written."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.urls import reverse

from tenants.members import accounts, last_operator
from tenants.members.last_operator import LastOperator
from tests.api.callers import of_operator
from tests.commands.running import answer, refusal
from tests.console import world as worlds
from tests.console.pages import text
from tests.tenants.members.test_members import at_once

pytestmark = pytest.mark.django_db


def save(user: User, **values: Any) -> None:
    for name, value in values.items():
        setattr(user, name, value)
    user.save()


WAYS: tuple[Callable[[User], Any], ...] = (
    lambda user: accounts.set_platform_role(user, ""),
    lambda user: accounts.set_platform_role(user, "auditor"),
    lambda user: save(user, is_active=False),
    lambda user: save(user, is_superuser=False),
    lambda user: user.delete(),
    lambda user: User.objects.filter(pk=user.pk).delete(),
)


def names() -> set[str]:
    return set(last_operator.operators().values_list("username", flat=True))


def test_the_last_operator_stays_one_and_others_go():
    root = User.objects.create_superuser("root")
    User.objects.create_superuser("gone", is_active=False)
    for way in WAYS:
        with pytest.raises(LastOperator), transaction.atomic():
            way(User.objects.get(pk=root.pk))
        assert names() == {"root"}
    for number, way in enumerate(WAYS):
        other = User.objects.create_superuser(f"other-{number}")
        way(other)
        assert names() == {"root"}


def test_nothing_is_written_where_no_transaction_would_undo_it(
    transactional_db: None,
):
    root = User.objects.create_superuser("root")
    for values in ({"is_active": False}, {"is_superuser": False}):
        with pytest.raises(LastOperator):
            save(User.objects.get(pk=root.pk), **values)
        assert names() == {"root"}


def test_what_makes_nobody_less_is_not_held_up():
    root = User.objects.create_superuser("root")
    save(root, email="root@example.com")
    User.objects.create_user("ada").delete()
    save(User.objects.create_user("bob"), is_active=False)
    root.is_active = False
    root.save(update_fields=["last_login"])  # which writes nothing of it
    assert names() == {"root"}


def test_a_token_is_told_of_a_conflict():
    root, other = User.objects.create_superuser("root"), User.objects.create_superuser("other")
    api = of_operator()
    for body in ({"role": ""}, {"role": "auditor"}, {"is_active": False}):
        assert api.patch(f"users/{other.pk}", body).status_code == 200
        refused = api.patch(f"users/{root.pk}", body)
        assert refused.status_code == 409
        assert "The last operator who can sign in stays one" in refused.json()["detail"]
        restored = api.patch(f"users/{other.pk}", {"role": "operator", "is_active": True})
        assert restored.status_code == 200
        assert names() == {"root", "other"}
        api.patch(f"users/{other.pk}", {"role": ""})
        assert api.patch(f"users/{root.pk}", body).status_code == 409
        api.patch(f"users/{other.pk}", {"role": "operator"})


def test_a_page_tells_it_and_changes_nothing():
    browser = worlds.operator()
    (root,) = last_operator.operators()
    page = reverse("admin:auth_user_change", args=(root.pk,))
    form = {"username": root.username, "date_joined_0": "2026-11-01", "date_joined_1": "12:00:00"}
    chosen = {"action": "delete_selected", "_selected_action": [root.pk], "post": "yes"}
    for address, sent in (
        (page, {**form, "is_superuser": "on"}),
        (page, {**form, "is_active": "on"}),
        (reverse("admin:auth_user_delete", args=(root.pk,)), {"post": "yes"}),
        (reverse("admin:auth_user_changelist"), chosen),
    ):
        said = text(browser.post(address, sent, follow=True))
        assert "The last operator who can sign in stays one" in said, address
        assert names() == {root.username}


def test_no_command_takes_the_rights_of_an_operator():
    answer("create_operator", "root")
    assert "is an operator" in refusal("create_operator", "root", "--auditor")
    assert names() == {"root"}


@pytest.mark.persistence
@pytest.mark.django_db(transaction=True)
def test_of_two_operators_who_demote_each_other_at_once_one_stays(monkeypatch: pytest.MonkeyPatch):
    """On PostgreSQL both have made their change, unseen by the other, before either is checked. SQLite has
    one writer at a time.
    """
    check = last_operator.keep_an_operator
    both = threading.Barrier(2 if connection.vendor == "postgresql" else 1)

    def checked() -> None:
        both.wait()
        check()

    monkeypatch.setattr(last_operator, "keep_an_operator", checked)
    for way in (WAYS[0], WAYS[4]):
        one, two = (User.objects.create_superuser(name) for name in ("one", "two"))
        raised = at_once(lambda: way(one), lambda: way(two))  # noqa: B023  # now
        assert sorted(type(each).__name__ for each in raised) == ["LastOperator", "NoneType"], (
            raised
        )
        assert last_operator.operators().count() == 1
        User.objects.update(is_superuser=False)  # past signals, for the next way
        User.objects.all().delete()
