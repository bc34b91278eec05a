"""A tenant is deleted at once for whoever calls, then erased, and its invoices stay as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.db.models import Model
from django.test import Client

from gateway_project.lib import clock
from gateway_project.lib.actor import Actor, acting
from responses_api.models import Run, StoredResponse
from routing.models import Credential
from tenants import managed, revision, suspension, triggers
from tenants.access.access import NOBODY, OPERATOR
from tenants.billing import periods, rollups, selfcheck
from tenants.deletion import asking, plan, rows, work
from tenants.ledger.ingest import ingest_all
from tenants.ledger.records import BudgetShare
from tenants.ledger.spool import Spool
from tenants.members import invitations, members, roles, support
from tenants.models import (
    ApiKey,
    ApiToken,
    AuditEvent,
    Budget,
    BudgetWindow,
    CreditTransaction,
    DirtyHour,
    ExternalIdentity,
    IdentityProvider,
    Invoice,
    InvoiceLine,
    KeySecret,
    Membership,
    Tenant,
    TenantDeletion,
    UsageDay,
    UsageHour,
    UsageRow,
)
from tests.console import world as worlds
from tests.console.pages import text, url
from tests.support import kept_rows, usage_rows, whole_tenant
from tests.support.dumps import dump
from tests.support.whole_tenant import named, planted, rows_of
from tests.tenants.ledger.conftest import opened, settled

pytestmark = pytest.mark.django_db(transaction=True)

BOOKS = (Invoice, InvoiceLine, CreditTransaction, UsageHour, UsageDay)
DIGESTED = plan.DIGESTED["tenants.UsageRow"]


@pytest.fixture
def tenant() -> Tenant:
    (tenant,) = whole_tenant.put("gone")
    return tenant


@pytest.fixture
def pair() -> list[Tenant]:
    return whole_tenant.put("gone", "stays")


def ask(tenant: Tenant) -> TenantDeletion:
    return asking.ask(tenant, OPERATOR, typed_slug=tenant.slug)


def erase() -> None:
    for _ in work.erase_tenants():
        pass


def books(tenant: Tenant) -> dict[str, list[dict[str, Any]]]:
    """All that invoices need, column by column."""
    found = {model.__name__: [_values(row) for row in rows_of(tenant, model)] for model in BOOKS}
    usage = [_values(row) for row in rows_of(tenant, UsageRow)]
    found["UsageRow"] = [{k: v for k, v in row.items() if k not in DIGESTED} for row in usage]
    return found


def _values(row: Any) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def found_in_dump(*words: str) -> set[str]:
    """Return where the words stand, but for the audit log: it is only ever added to, and goes by age."""
    return {
        f"{table}: {word}"
        for table, held in dump().items()
        if table != AuditEvent._meta.db_table
        for word in words
        if word in held or word.encode().hex() in held
    }


@pytest.mark.persistence
def test_a_tenant_with_everything_is_erased_and_its_books_are_not(
    pair: list[Tenant], monkeypatch: pytest.MonkeyPatch
):
    tenant, other = pair
    before, others = books(tenant), dump_of(other)
    sealed = Credential.objects.filter(tenant=tenant).values_list("sealed_secret", flat=True)
    secrets = [secret.lower() for secret in sealed]
    digests = [bytes(d).hex() for d in _digests(tenant)]
    assert len(found_in_dump(planted("gone"))) > 15

    ask(tenant)
    monkeypatch.setattr(work, "BATCH", 1)
    killed = work.Erasure(TenantDeletion.objects.get().pk, batch=1).run()
    for _ in islice(killed, 17):  # and never goes on: most of the work is undone
        pass
    assert work.remaining(tenant)
    assert not Credential.objects.filter(tenant=tenant).exists()
    TenantDeletion.objects.update(lease_until=clock.now() - timedelta(seconds=1))
    erase()

    tenant.refresh_from_db()
    deletion = TenantDeletion.objects.get()
    assert (tenant.name, tenant.slug) == (f"Deleted tenant {tenant.pk}", f"deleted-{tenant.pk}")
    assert (deletion.state, work.remaining(tenant)) == ("done", {})
    assert deletion.counts["responses_api.StoredItem"] == 5
    assert found_in_dump(planted("gone"), *secrets, *digests) == set()
    logged = dump()[AuditEvent._meta.db_table]
    assert not [word for word in (*secrets, *digests) if word in logged]
    # A finalized invoice says whom it was for.
    assert found_in_dump(named("gone")) == {f"tenants_invoice: {named('gone')}"}
    assert books(tenant) == before
    assert dump_of(other) == others
    assert selfcheck.examine() == []
    assert triggers.differences() == []


def _digests(tenant: Tenant) -> list[Any]:
    return list(KeySecret.objects.filter(api_key__tenant=tenant).values_list("digest", flat=True))


def dump_of(tenant: Tenant) -> list[Any]:
    kinds: list[type[Model]] = [*(each.model for each in plan.ERASED), UsageRow, *BOOKS]
    return [_values(row) for kind in kinds for row in rows_of(tenant, kind)]


@pytest.mark.persistence
@pytest.mark.long
def test_equal_texts_have_equal_digests_within_a_tenant_and_others_elsewhere(pair: list[Tenant]):
    tenant, other = pair
    for each in pair:
        ask(each)
    erase()
    usage = {each.pk: list(UsageRow.objects.filter(tenant=each)) for each in pair}
    users = {pk: {row.end_user for row in found} for pk, found in usage.items()}
    assert [len(names) for names in users.values()] == [1, 1]
    assert not users[tenant.pk] & users[other.pk]
    assert all(name.startswith("erased:") for names in users.values() for name in names)
    [tags] = {json.dumps(row.tags, sort_keys=True) for row in usage[tenant.pk]}
    assert len(json.loads(tags)) == 2


@pytest.mark.persistence
def test_asking_revokes_keys_ends_runs_and_raises_the_revision_at_once(tenant: Tenant):
    waiting = kept_rows.run(kept_rows.response(tenant, status="queued"))
    before = revision.current()

    deletion = ask(tenant)

    assert revision.current() > before
    tenant.refresh_from_db()
    assert tenant.status == "suspended"
    assert not ApiKey.objects.filter(tenant=tenant, revoked_at=None).exists()
    assert set(Run.objects.filter(tenant=tenant).values_list("status", flat=True)) == {"cancelled"}
    waiting.refresh_from_db()
    assert bytes(waiting.request) == b""
    assert (deletion.state, deletion.asked_by) == ("running", "Tollgate")
    assert ask(tenant).pk == deletion.pk


def test_only_operators_may_and_only_with_the_slug(tenant: Tenant):
    with pytest.raises(PermissionDenied):
        asking.ask(tenant, NOBODY, typed_slug=tenant.slug)
    with pytest.raises(PermissionDenied):
        suspension.suspend(tenant, NOBODY)
    with pytest.raises(ValidationError, match="Type"):
        asking.ask(tenant, OPERATOR, typed_slug="another")
    assert not TenantDeletion.objects.exists()


@pytest.mark.persistence
def test_the_database_keeps_it_deleted_and_what_it_was(tenant: Tenant):
    row = UsageRow.objects.filter(tenant=tenant).first()
    assert row is not None
    digested = UsageRow.objects.filter(pk=row.pk)
    assert refused(lambda: digested.update(end_user="x"))  # of a tenant that is not deleted
    ask(tenant)
    assert refused(lambda: Tenant.objects.filter(pk=tenant.pk).update(status="active"))
    assert refused(lambda: TenantDeletion.objects.all()._raw_delete("default"))
    assert refused(lambda: digested.update(charge_nano=0))
    assert refused(lambda: digested.update(end_user="x", alias="y"))
    assert not refused(lambda: digested.update(end_user="x"))
    with pytest.raises(ValidationError, match="for good"):
        suspension.resume(tenant, OPERATOR)


def refused(work_: Any) -> bool:
    try:
        with transaction.atomic():
            work_()
    except IntegrityError:
        return True
    return False


@pytest.mark.persistence
def test_two_runners_do_not_work_on_one_deletion_and_a_dead_ones_lease_ends(tenant: Tenant):
    pk = ask(tenant).pk
    first, second = work.Erasure(pk, batch=1).run(), work.Erasure(pk, batch=1).run()
    next(first)
    with pytest.raises(work.LeaseLost):
        next(second)
    TenantDeletion.objects.update(lease_until=clock.now() - timedelta(seconds=1))
    third = work.Erasure(pk, batch=1).run()
    next(third)
    with pytest.raises(work.LeaseLost):
        next(first)


@pytest.mark.persistence
@pytest.mark.long
def test_late_spools_are_booked_without_names_and_late_responses_are_swept(
    tenant: Tenant, tmp_path: Path
):
    directory = tmp_path / "spool"
    directory.mkdir()
    spool = Spool(directory)
    key = ApiKey.objects.get(tenant=tenant)
    call = opened(
        tenant_id=tenant.pk,
        tenant=tenant.slug,
        key_id=key.pk,
        key=key.public_id,
        end_user=f"{planted('gone')}-late",
        tags={"team": planted("gone")},
    )
    spool.append(call)
    ask(tenant)
    taken = Tenant.objects.create(slug=f"deleted-{tenant.pk}", name="A strange choice")
    erase()
    tenant.refresh_from_db()
    assert tenant.slug.startswith(f"{taken.slug}-")
    spool.append(settled(call))
    spool.close()
    kept_rows.response(tenant, said=planted("gone"))  # a call that was running

    assert ingest_all(directory).rows == 1

    row = UsageRow.objects.get(pk=call.id)
    assert (row.charge_nano, row.tenant_slug) == (8, f"deleted-{tenant.pk}")
    assert row.end_user.startswith("erased:")
    [deletion] = TenantDeletion.objects.all()
    assert deletion.next_sweep_at is not None
    assert not work.is_any_due()
    for _ in work.SWEEPS:
        assert TenantDeletion.objects.update(next_sweep_at=clock.now()) == 1
        erase()
    assert not StoredResponse.objects.filter(tenant=tenant).exists()
    assert found_in_dump(planted("gone")) == set()
    assert TenantDeletion.objects.get().next_sweep_at is None
    assert DirtyHour.objects.filter(tenant_id=tenant.pk).exists()
    rollups.recompute_dirty()
    assert selfcheck.examine() == []


@pytest.mark.long
def test_its_last_months_are_still_invoiced(tenant: Tenant):
    usage_rows.usage(tenant, clock.now(), alias="gone-alias", end_user=planted("gone"))
    ask(tenant)
    erase()
    tenant.refresh_from_db()
    periods.advance(tenant, clock.now() + timedelta(days=40))
    assert Invoice.objects.filter(tenant=tenant, kind="invoice").count() == 3


def test_nothing_new_is_made_for_a_tenant_that_is_deleted(tenant: Tenant):
    ask(tenant)
    guest = User.objects.create_user("guest")
    attempts: list[Callable[[], object]] = [
        lambda: managed.create(OPERATOR, ApiKey, {"tenant": tenant, "name": "late"}),
        lambda: managed.create(
            OPERATOR, ApiToken, {"tenant": tenant, "name": "late", "scopes": ["keys.view"]}
        ),
        lambda: members.add_member(OPERATOR, tenant, guest, "viewer"),
        lambda: invitations.invite(OPERATOR, tenant, "viewer", created_by=None),
        lambda: roles.create_role(OPERATOR, tenant, "late", ["keys.view"]),
        lambda: support.start(OPERATOR, guest, tenant, role="viewer", reason="late"),
    ]
    for attempt in attempts:
        with acting(Actor("command", "test", "test")), pytest.raises(ValidationError) as refused:
            attempt()
        assert "This tenant is deleted" in refused.value.messages[0]
    form = {"name": "late", "issuer": "https://late.example", "client_id": "c", "tenant": tenant.pk}
    form |= {"maximum_role": "viewer", "group_roles": "{}"}
    form |= {"domains-TOTAL_FORMS": 0, "domains-INITIAL_FORMS": 0}
    page = worlds.operator().post(url(IdentityProvider, "add"), form, follow=True)
    assert "This tenant is deleted" in text(page)
    assert not IdentityProvider.objects.filter(name="late").exists()


@pytest.mark.persistence
@pytest.mark.long
def test_nothing_is_left_of_who_people_were_at_the_tenants_identity_provider(tenant: Tenant):
    other = Tenant.objects.create(slug="other", name="Other")
    only, everywhere = (User.objects.create_user(name) for name in ("only", "everywhere"))
    Membership.objects.create(tenant=other, user=everywhere, role="viewer")
    for user in (only, everywhere):
        Membership.objects.create(tenant=tenant, user=user, role="viewer")
        for issuer, member_of in (("https://gone", tenant.pk), ("https://stays", None)):
            ExternalIdentity.objects.create(
                issuer=issuer, subject=user.username, user=user, member_of=member_of
            )
    browser = Client()
    browser.force_login(only)  # an account with a session goes, too

    ask(tenant)
    erase()

    assert not User.objects.filter(username="only").exists()
    assert browser.get("/console/").status_code == 302
    kept = ExternalIdentity.objects.values_list("issuer", "subject")
    assert list(kept) == [("https://stays", "everywhere")]


def test_people_lose_their_account_with_their_last_tenant_unless_something_names_it(tenant: Tenant):
    other = Tenant.objects.create(slug="other", name="Other")
    everywhere = User.objects.create_user("everywhere", is_staff=True)
    operator = User.objects.create_superuser("chief")
    maker = User.objects.create_user("maker", is_staff=True)
    for user in (everywhere, operator, maker):
        Membership.objects.create(tenant=tenant, user=user)
    Membership.objects.create(tenant=other, user=everywhere)
    ApiKey.objects.create(tenant=other, name="made by them", created_by=maker)

    ask(tenant)
    erase()

    assert set(User.objects.values_list("username", flat=True)) == {"everywhere", "chief", "maker"}
    assert Membership.objects.get().user == everywhere


@pytest.mark.persistence
@pytest.mark.long
def test_a_failure_with_one_tenant_does_not_hold_up_another(
    pair: list[Tenant], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    tenant, other = pair
    for each in pair:
        ask(each)
    erased = rows.erase

    def fail(kind: Any, keys: Any) -> int:
        ours = Budget.objects.filter(tenant=tenant).values_list("pk", flat=True)
        if kind.label == "tenants.Budget" and set(keys) & set(ours):
            raise RuntimeError("a disk")
        return erased(kind, keys)

    monkeypatch.setattr(rows, "erase", fail)
    erase()
    assert set(TenantDeletion.objects.values_list("tenant", "state")) == {
        (tenant.pk, "running"),
        (other.pk, "done"),
    }
    monkeypatch.undo()
    assert not work.is_any_due()
    TenantDeletion.objects.filter(tenant=tenant).update(next_sweep_at=clock.now())
    erase()
    assert set(TenantDeletion.objects.values_list("state", flat=True)) == {"done"}


# Command and page


def run(*arguments: str) -> Any:
    out = StringIO()
    call_command(*arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


@pytest.mark.long
def test_the_command_says_what_would_go_deletes_and_tells_the_progress(tenant: Tenant):
    would = run("delete_tenant", tenant.slug)
    assert (would["state"], would["left"]["tenants.ApiKey"]) == ("not_asked", 1)
    assert not TenantDeletion.objects.exists()
    begun = run("delete_tenant", tenant.slug, "--yes")
    assert (begun["state"], begun["left"]) == ("running", would["left"])
    erase()
    done = run("delete_tenant", f"deleted-{tenant.pk}")
    assert (done["state"], done["left"]) == ("done", {})
    assert done["erased"]["tenants.ApiKey"] == 1
    with pytest.raises(CommandError, match="There is no tenant"):
        run("delete_tenant", tenant.slug)
    Tenant.objects.create(slug=tenant.slug, name="The slug is free")


def test_a_tenant_is_suspended_and_resumed_by_command(tenant: Tenant):
    assert run("suspend_tenant", tenant.slug)["status"] == "suspended"
    assert run("suspend_tenant", tenant.slug, "--resume")["status"] == "active"
    with pytest.raises(CommandError, match="There is no tenant"):
        run("suspend_tenant", "nobody")


def test_the_console_deletes_after_the_slug_was_typed_and_shows_the_progress(tenant: Tenant):
    operator = worlds.operator()
    page = url(tenant, "delete")

    assert "3 " in text(operator.get(page))
    wrong = operator.post(page, {"slug": "wrong", "post": "yes"})
    assert "to delete this tenant" in text(wrong)
    assert not TenantDeletion.objects.exists()
    begun = operator.post(page, {"slug": tenant.slug}, follow=True)
    assert "is being deleted" in text(begun)
    assert operator.get(page).status_code == 302
    erase()
    [deletion] = TenantDeletion.objects.all()
    stranger = worlds.staff("owner", Tenant.objects.create(slug="else", name="Else"))
    assert stranger.get(url(deletion, "change")).status_code == 404
    assert "Deleted tenant" not in text(stranger.get(url(TenantDeletion, "changelist")))
    shown = text(operator.get(url(deletion, "change")))
    assert "stored items" in shown
    assert "Done" in shown
    listed = text(operator.get(url(Tenant, "changelist")))
    assert "delete_selected" not in listed


def test_members_may_not_delete_their_tenant(tenant: Tenant):
    client: Client = worlds.staff("owner", tenant)
    for answer in (client.get(url(tenant, "delete")), client.post(url(tenant, "delete"))):
        assert answer.status_code == 403
    assert not TenantDeletion.objects.exists()


@pytest.mark.persistence
@pytest.mark.long
def test_a_stray_record_is_set_aside_and_its_neighbours_are_booked(
    tmp_path: Path, pair: list[Tenant]
):
    """A spool that names another tenant's key or budget: no foreign key of the ledger says no."""
    tenant, other = pair
    directory = tmp_path / "spool"
    directory.mkdir()
    spool = Spool(directory)
    good = opened(tenant_id=tenant.pk, key_id=ApiKey.objects.get(tenant=tenant).pk)
    stray = opened(tenant_id=tenant.pk, key_id=ApiKey.objects.get(tenant=other).pk)
    share = BudgetShare(Budget.objects.get(tenant=other).pk, 1_790_000_000, None)
    spent = opened(tenant_id=tenant.pk, key_id=good.key_id, budgets=(share,), held_nano=10)
    for call in (good, stray, spent):
        spool.append(call)
        spool.append(settled(call))
    spool.close()
    found = ingest_all(directory)
    assert (found.rows, found.set_aside, found.failed) == (1, 2, 0)
    assert UsageRow.objects.filter(pk=good.id).exists()
    assert BudgetWindow.objects.filter(budget__tenant=other).count() == 1
